"""The Authentication-Results field that a message gets from us (RFC 8601 2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from tlsgate.mail.header_field import field

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"  # noqa: S105
# RFC 8601's pvalue is a value of RFC 2045, which has quotes where it isn't a token, or an address without them.
_PLAIN = re.compile(rf"{_TOKEN}|(?:{_TOKEN})?@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_TO_ESCAPE = re.compile(r"([\"\\])")
_LONGEST_VALUE = 256


class Result(Struct, frozen=True):
    """What one method has found, in RFC 8601's registered words, such as "spf", "pass".

    ``properties``: what was looked at, such as ("smtp.mailfrom", "a@example.org"). These values and ``reason`` may be a
    stranger's.
    """

    method: str
    result: str
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()


def authentication_results(authserv_id: str, results: Iterable[Result]) -> bytes:
    """The field with its line end. ``authserv_id``: our host name, whose other fields are removed as forged."""
    words = [value(authserv_id)]
    for each in results:
        words[-1] += ";"
        words.append(f"{each.method}={each.result}")
        if each.reason:
            words.append(f"reason={value(each.reason)}")
        words += [f"{name}={value(found)}" for name, found in each.properties]
    if len(words) == 1:
        words = [f"{words[0]};", "none"]
    return field("Authentication-Results", words)


def value(text: str) -> str:
    """A text as a value: as it is if it can be, else in quotes; cut where it is longer than any address."""
    text = text[:_LONGEST_VALUE]
    return text if _PLAIN.fullmatch(text) else '"' + _TO_ESCAPE.sub(r"\\\1", text) + '"'
