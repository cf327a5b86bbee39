"""Fields of ours: folded, and never more than one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tlsgate.mail.header_field import field


@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=20))
def test_one_field_whatever_the_words(words: list[str]) -> None:
    """A word that ends a line would be a stranger's own header field, or the end of the header."""
    written = field("X-Name", words)
    assert re.fullmatch(rb"X-Name: [ -~\t]+(?:\r\n\t[ -~]+)*\r\n", written)
    assert max(map(len, written.split(b"\r\n"))) <= 320
    assert re.sub(rb"\r\n\t", b" ", written) == f"X-Name: {' '.join(_printed(each) for each in words)}\r\n".encode()


def _printed(word: str) -> str:
    return "".join(each if " " <= each <= "~" else "?" for each in word)


def test_lines_are_78_long_where_words_are_short() -> None:
    lines = field("Name", ["word"] * 100).split(b"\r\n")
    assert {len(line) for line in lines[:-2]} <= set(range(73, 79))
