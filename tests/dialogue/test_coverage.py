"""Which rows of the list of attack cases are shown by transcripts, and by how many.

A transcript that is deleted, or that loses its row, fails here: a case must not go unshown without anybody saying so.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.dialogue.transcript import BACKEND_SIDE, SERVER_SIDE, load_all

EXPECTED: dict[str, dict[str, int]] = {
    "imap": {
        "A1": 1,
        "A5": 2,
        "A6": 1,
        "A7": 5,
        "A8": 1,
        "A9": 2,
        "A13": 2,
        "A14": 1,
        "A17": 4,
        "B1": 8,
        "B2": 6,
        "B3": 1,
        "B4": 1,
        "B5": 3,
        "B6": 1,
        "B7": 34,
        "B8": 25,
        "B9": 2,
        "B10": 3,
        "B11": 4,
        "B12": 3,
        "B13": 1,
        "B14": 1,
        "B15": 2,
        "B16": 2,
    },
    "pop3": {
        "A2": 2,
        "A5": 2,
        "A6": 1,
        "A10": 5,
        "A13": 3,
        "A14": 2,
        "A17": 4,
        "C1": 2,
        "C2": 1,
        "C3": 1,
        "C4": 31,
        "C5": 8,
        "C6": 3,
        "C8": 3,
    },
    "smtp": {
        "A3": 2,
        "A5": 1,
        "A6": 1,
        "A11": 5,
        "A12": 2,
        "A14": 1,
        "A17": 4,
        "D1": 6,
        "D2": 2,
        "D3": 31,
        "D4": 2,
        "D5": 8,
        "D6": 1,
        "D7": 4,
        "D8": 18,
        "D9": 18,
        "D10": 8,
        "D11": 27,
        "D12": 4,
        "D13": 13,
        "D14": 4,
        "D15": 1,
        "D16": 7,
        "D18": 4,
        "D19": 20,
        "D21": 2,
    },
    "mx": {
        "A3": 1,
        "A5": 1,
        "A6": 1,
        "A11": 3,
        "A12": 6,
        "A14": 1,
        "A17": 2,
        "D1": 5,
        "D3": 1,
        "D7": 2,
        "D8": 1,
        "D9": 3,
        "D11": 16,
        "D12": 1,
        "D13": 12,
        "D14": 2,
        "D16": 6,
        "D18": 3,
        "D19": 10,
        "D21": 2,
    },
    "imap_backend": {
        "A15": 2,
        "A16": 9,
        "B4": 4,
        "B8": 3,
        "B12": 5,
        "B14": 20,
        "B15": 17,
        "B16": 5,
    },
    "pop3_backend": {
        "A16": 5,
        "C1": 2,
        "C7": 46,
    },
    "smtp_backend": {
        "A16": 7,
        "D6": 3,
        "D16": 47,
    },
}


@pytest.mark.parametrize("protocol", [*SERVER_SIDE, *BACKEND_SIDE])
def test_rows(protocol: str) -> None:
    assert Counter(row for transcript in load_all(protocol) for row in transcript.rows) == EXPECTED[protocol]


@pytest.mark.parametrize("protocol", [*SERVER_SIDE, *BACKEND_SIDE])
def test_names_begin_with_a_row(protocol: str) -> None:
    """The file's name is what a failing test shows: it must lead to the case."""
    for transcript in load_all(protocol):
        begin = transcript.name.partition("_")[0]
        if begin[0].isupper():
            assert f"{begin[0]}{int(begin[1:])}" in transcript.rows, transcript.name
        assert transcript.rows, transcript.name
