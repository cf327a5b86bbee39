"""The fuzz targets hold on their seeds, on what fuzzing has found, and on some inputs beside: without a fuzzer too.

A target that nobody runs any more finds nothing; a finding that isn't kept comes back.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.choices import cut, lines
from fuzz.targets import NAMES

SEEDS = Path(__file__).parent.parent / "fuzz" / "seeds"
_MIXED = 200


def target(name: str) -> Callable[[bytes], None]:
    found: Callable[[bytes], None] = importlib.import_module(f"fuzz.targets.{name}").fuzz
    return found


def seeds(name: str) -> list[bytes]:
    return [each.read_bytes() for each in sorted((SEEDS / name).iterdir())]


def test_every_target_has_seeds_and_no_seed_is_without_a_target() -> None:
    assert tuple(sorted(each.name for each in SEEDS.iterdir())) == NAMES
    assert all(seeds(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str) -> None:
    fuzz = target(name)
    for data in (b"", *seeds(name)):
        fuzz(data)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=_MIXED, deadline=None)
@given(st.data())
def test_other_inputs(name: str, data: st.DataObject) -> None:
    """Seeds that somebody has bitten into, and noise."""
    fuzz, known = target(name), seeds(name)
    bites = st.tuples(st.integers(0, 4096), st.integers(0, 20), st.binary(max_size=8))
    seed = data.draw(st.sampled_from(known) | st.binary(max_size=100))
    for at, gone, new in data.draw(st.lists(bites, max_size=3)):
        at %= len(seed) + 1
        seed = seed[:at] + new + seed[at + gone :]
    fuzz(seed)


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"bc"])).map(b"".join), st.binary(max_size=4))
def test_pieces_are_the_whole(data: bytes, sizes: bytes) -> None:
    """Else two runs of a target would differ by themselves, or be of nothing."""
    pieces = lines(data)
    assert b"".join(pieces) == b"".join(cut(pieces, sizes)) == data
    assert all(each.count(b"\n") == each.endswith(b"\n") for each in pieces)
