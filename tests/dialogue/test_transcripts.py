"""Every transcript: group by group as written, then the same input in other segments.

A failure here means that a client or a backend gets other answers than the ones that were written down, or that the
answers depend on how the network cut the octets up.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialogue.player import Split, byte_by_byte, play, play_groups, whole, without_lost_bodies
from tests.dialogue.transcript import BACKEND_SIDE, SERVER_SIDE, TRANSCRIPTS, Item, Transcript, load_all

ALL = load_all(*SERVER_SIDE, *BACKEND_SIDE)
CUTTABLE = [transcript for transcript in ALL if transcript.splits != "none"]


def _name(transcript: Transcript) -> str:
    return f"{transcript.protocol}/{transcript.name}"


def _cut(sizes: list[int]) -> Split:
    """Segments of these sizes, over and over."""

    def split(data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            size = sizes[len(pieces) % len(sizes)]
            pieces.append(data[at : at + size])
            at += size
        return pieces

    return split


def _edged(groups: Iterable[Iterable[Item]]) -> list[Item]:
    """The groups' items in one list, which shows where each group begins."""
    return [item for group in groups for item in (("G", ""), *group)]


@pytest.mark.parametrize("transcript", ALL, ids=_name)
def test_as_written(transcript: Transcript) -> None:
    told = without_lost_bodies(_edged(play_groups(transcript, whole, joined=False)))
    assert told == _edged(group.expected for phase in transcript.phases for group in phase)


@pytest.mark.parametrize("split", [whole, byte_by_byte])
@pytest.mark.parametrize("transcript", CUTTABLE, ids=_name)
def test_whole_and_byte_by_byte(transcript: Transcript, split: Split) -> None:
    assert play(transcript, split) == transcript.expected


@pytest.mark.parametrize("transcript", CUTTABLE, ids=_name)
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_any_split(transcript: Transcript, sizes: list[int]) -> None:
    assert play(transcript, _cut(sizes)) == transcript.expected


def test_no_file_is_left_out() -> None:
    """A transcript in a folder that no test reads, or under another suffix, would pass by never being played."""
    files = {path for path in TRANSCRIPTS.rglob("*") if path.is_file()}
    assert len(files) == len(ALL)
    assert {path.parent.name for path in files} == {*SERVER_SIDE, *BACKEND_SIDE}
