"""The filter of Authentication-Results fields, and the fields that we write."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fuzz.choices import Choices, cut
from tlsgate.mail.authentication_results import Result, authentication_results
from tlsgate.mail.forged_results import LONGEST_LOOK, ForgedResults

_OURS = "mail.example.org"
_LINE_ENDS = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def fuzz(data: bytes) -> None:
    choices = Choices(data)
    sizes = choices.some(3)
    message = _LINE_ENDS.sub(b"\r\n", choices.rest.removesuffix(b"\r")) + b"\r\n"
    whole, too_large, removed = _filtered([message])
    assert _filtered(cut([message], sizes)) == (whole, too_large, removed)
    if not too_large:
        assert len(whole) <= len(message)
        assert whole == message or removed
        assert _filtered([whole]) == (whole, False, 0)  # nothing that is removed lets something else be ours
    _field(choices.rest.decode(errors="replace"))


def _filtered(pieces: Iterable[bytes]) -> tuple[bytes, bool, int]:
    filtering = ForgedResults(_OURS)
    passed = b""
    for each in pieces:
        passed += filtering.feed(each)
        assert len(filtering._held) <= LONGEST_LOOK + 2 + len(each)
    return passed + filtering.finish(), filtering.too_large, filtering.removed


def _field(text: str) -> None:
    """Whatever a stranger chose is one field, which the filter knows for ours."""
    field = authentication_results(_OURS, [Result("spf", "fail", text, (("smtp.mailfrom", text),))])
    assert field.endswith(b"\r\n")
    assert all(line.startswith((b"\t", b"Authentication-Results: ")) for line in field[:-2].split(b"\r\n"))
    assert field.isascii()
    assert _filtered([field + b"\r\n"]) == (b"\r\n", False, 1)
