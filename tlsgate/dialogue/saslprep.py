"""SASLprep (RFC 4013): one form for names and passwords that look the same, by the tables of RFC 3454."""

from __future__ import annotations

import stringprep
import unicodedata

from tlsgate.dialogue.credentials import LONGEST_SECRET

_PROHIBITED = (  # C.1.2, other spaces, are mapped before
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str, *, stored: bool = False, longest: int = LONGEST_SECRET) -> str:
    """``text`` prepared, of at most ``longest`` characters.

    ``stored``: it is to be kept, where unassigned code points are forbidden (RFC 3454 7).
    Raises ValueError, which doesn't show the text, for what may not be in a name or password.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each for each in text if not stringprep.in_table_b1(each)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if len(prepared) > longest:  # one character can become eighteen, and each is looked at
        raise ValueError("too long")
    for each in prepared:
        if any(is_in(each) for is_in in _PROHIBITED):
            raise ValueError("prohibited character")
        if stored and stringprep.in_table_a1(each):
            raise ValueError("unassigned character")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 6: right-to-left text begins and ends so, and has nothing of the other direction in it."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    if any(map(stringprep.in_table_d2, text)):
        raise ValueError("characters of both directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("right-to-left text with another end")
