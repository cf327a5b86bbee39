"""Dots that SMTP added are gone wherever segments cut a message, and no other octet is (D10)."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.mail.dot_stuffing import Unstuffer

_WORDS = st.sampled_from([b"\r\n", b"\r\n", b"..", b"\r\n..", b"x", b" ", b"\r\n.x", b"a.b", b"\xff"])
_MESSAGES = st.lists(_WORDS, max_size=30).map(b"".join)


def _unstuffed(stuffed: bytes, length: int) -> bytes:
    unstuffer = Unstuffer()
    return b"".join(unstuffer.feed(stuffed[at : at + length]) for at in range(0, len(stuffed), length))


@pytest.mark.parametrize("length", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("stuffed", "message"),
    [
        (b"", b""),
        (b"..\r\n", b".\r\n"),
        (b"...a\r\n", b"..a\r\n"),
        (b"a..b\r\n..\r\n\r\n....\r\n", b"a..b\r\n.\r\n\r\n...\r\n"),
        (b".a\r\n", b"a\r\n"),  # a dot that nobody had to stuff goes too
        (b"a\r\n.b.\r\n", b"a\r\nb.\r\n"),
    ],
)
def test_lines_that_begin_with_a_dot(stuffed: bytes, message: bytes, length: int) -> None:
    assert _unstuffed(stuffed, length) == message


@given(_MESSAGES, st.lists(st.integers(0, 40), max_size=10))
def test_as_told_line_by_line_in_any_pieces(stuffed: bytes, cuts: list[int]) -> None:
    """What is scanned would else differ from what the backend keeps."""
    places = [0, *sorted(cut for cut in cuts if cut < len(stuffed)), len(stuffed)]
    unstuffer = Unstuffer()
    given_out = b"".join(unstuffer.feed(stuffed[begin:end]) for begin, end in itertools.pairwise(places))
    assert given_out == b"\r\n".join(line.removeprefix(b".") for line in stuffed.split(b"\r\n"))


@given(_MESSAGES, st.integers(1, 7))
def test_stuffed_and_back(message: bytes, length: int) -> None:
    assert _unstuffed(re.sub(rb"(\A|\r\n)\.", rb"\1..", message), length) == message
