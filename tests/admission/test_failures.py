"""The arithmetic of failed logins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.admission import failures
from tlsgate.admission.failures import Failure


def test_delays_double_to_fifteen_seconds() -> None:
    assert [failures.delay(count) for count in range(-3, 8)] == [0, 0, 0, 0, 1, 2, 4, 8, 15, 15, 15]
    assert failures.delay(10**6) == 15


def test_only_the_window_counts() -> None:
    noted = (Failure(100.0, b"a"), Failure(160.0, b"b"))
    assert failures.recent(noted, 160.0, 60.0) == (Failure(160.0, b"b"),)
    assert failures.recent(noted, 159.9, 60.0) == noted


def test_the_same_secret_again_is_no_new_failure() -> None:
    once = (Failure(1.0, b"a"), Failure(2.0, b"b"))
    assert failures.with_one_more(once, Failure(3.0, b"a"), 10) == once
    assert len(failures.with_one_more(once, Failure(3.0, b"c"), 10)) == 3


def test_what_was_not_looked_at_counts_each_time() -> None:
    """Nobody knows whether it was the same: to count it once would be a way to try for nothing."""
    once = failures.with_one_more((), Failure(1.0, b""), 10)
    assert len(failures.with_one_more(once, Failure(2.0, b""), 10)) == 2


@given(whats=st.lists(st.binary(max_size=1)), most=st.integers(1, 20))
def test_no_more_are_kept_than_matter_and_those_are_the_newest(whats: list[bytes], most: int) -> None:
    kept: tuple[Failure, ...] = ()
    for at, what in enumerate(whats):
        new = Failure(float(at), what)
        before, kept = kept, failures.with_one_more(kept, new, most)
        assert kept == before or kept[-1] == new
        assert len(kept) <= most
        known = [each.what for each in kept if each.what]
        assert len(set(known)) == len(known)
    assert failures.decode(failures.encode(kept)) == kept


def test_a_record_is_bounded() -> None:
    """The store has many of them."""
    kept: tuple[Failure, ...] = ()
    for number in range(3000):
        kept = failures.with_one_more(kept, Failure(1e9 + number, number.to_bytes(16)), 10_000_000)
    assert len(failures.encode(kept)) < 32_768


@pytest.mark.parametrize("record", [b"", b"\xc1", b"\x91\x92\x01", b"nonsense", b"\x91\x92\xa1x\xa1y"])
def test_what_is_no_record_is_a_value_error(record: bytes) -> None:
    with pytest.raises(ValueError):
        failures.decode(record)


def test_no_record_is_no_failure() -> None:
    assert failures.decode(None) == ()
