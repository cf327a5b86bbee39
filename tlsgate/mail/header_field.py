"""Header fields of ours, on as many lines as they need (RFC 5322 2.1.1 and 2.2.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LINE = 78
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def field(name: str, words: Iterable[str]) -> bytes:
    """A field with its line end. Lines are cut between words only, so each word must be far below 998 octets.

    Nothing that a stranger chose ends a line: whatever is no printable ASCII becomes "?".
    """
    lines = [f"{name}:"]
    for word in (_UNPRINTABLE.sub("?", each) for each in words):
        if len(lines[-1]) + 1 + len(word) <= _LINE or lines[-1] == f"{name}:":
            lines[-1] += f" {word}"
        else:
            lines.append(f"\t{word}")
    return "\r\n".join(lines).encode() + b"\r\n"
