"""The body of a message behind DATA (RFC 5321 4.5.2): its end is CR LF . CR LF and nothing else.

A bare CR or LF, or a NUL, is what SMTP smuggling lives on (CVE-2023-51764): such a message is refused whole, or its
bare CRs and LFs are made the line ends that they were meant as, and its dots stuffed anew. What passes has CR LF line
ends only, so its dot-stuffing means the same to every server behind us.
The end itself is never passed on: the caller says it with ``END_OF_DATA`` once the message may stand.
"""

from __future__ import annotations

import enum
import re

END_OF_DATA = b".\r\n"
_TERMINATOR = b"\r\n.\r\n"
_PREFIXES = tuple(_TERMINATOR[:length] for length in range(4, 0, -1))
# What a bare LF may change the meaning of: the stuffed dot before it, and a dot behind it.
_PREFIXES_WITH_LF = (*_PREFIXES[:1], b"\r\n.\n", *_PREFIXES[1:], b"\n")
# A bare line end, the stuffed dot that was alone on the line before it, and a dot that begins the line behind it.
_BARE = re.compile(rb"((?<=\r\n)\.)?(?:\r(?!\n)|(?<!\r)\n)(\.?)")
_WRONG = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


class BodyFault(enum.StrEnum):
    """Why a message can't be passed on."""

    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"
    NUL = "nul"
    TOO_LARGE = "too_large"


class DataDecoder:
    """Splits what follows 354 into body pieces and the rest behind the end.

    ``limit``: the most octets that a message may have. ``normalize``: bare CRs and LFs become CR LF and are no fault;
    the message's size is then that of what is passed on. ``feed`` gives the octets that may go to the backend now;
    ``ended`` tells that the end was seen, ``rest`` what came behind it. ``size`` counts the message's octets without
    stuffed dots (RFC 1870 5). ``fault``: the first octet that is wrong, else whether it is too large. After a fault
    nothing more is given out, but the end is still looked for.
    """

    __slots__ = ("_held", "_limit", "_normalize", "_prefixes", "_virtual", "ended", "fault", "rest", "size")

    def __init__(self, limit: int, *, normalize: bool = False) -> None:
        self._limit = limit
        self._normalize = normalize
        self._prefixes = _PREFIXES_WITH_LF if normalize else _PREFIXES
        # The line end of the DATA command itself may begin the terminator: an empty message is just ".".
        self._held = b"\r\n"
        self._virtual = 2
        self.ended = False
        self.fault: BodyFault | None = None
        self.rest = b""
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Take octets from the client, give those that may be forwarded (maybe none)."""
        text = self._held + data
        end = text.find(_TERMINATOR)
        if end >= 0:
            self.ended = True
            self.rest = text[end + len(_TERMINATOR) :]
            text, self._held = text[: end + 2], b""
        else:
            held = next((len(prefix) for prefix in self._prefixes if text.endswith(prefix)), 0)
            text, self._held = text[: len(text) - held], text[len(text) - held :]
        return self._checked(text)

    def _checked(self, text: bytes) -> bytes:
        if not text:
            return b""
        if self._normalize and not _only_pairs(text):
            text = _BARE.sub(_normal, text)
        if self.fault in (None, BodyFault.TOO_LARGE):
            self.fault = _first_fault(text) or self.fault
        dots = text.count(b"\r\n.")
        text, self._virtual = text[self._virtual :], 0
        self.size += len(text) - dots
        if self.size > self._limit and self.fault is None:
            self.fault = BodyFault.TOO_LARGE
        return b"" if self.fault else text


def _first_fault(text: bytes) -> BodyFault | None:
    """What is wrong first in a piece of a message that is cut neither inside CR LF nor behind a CR."""
    if _only_pairs(text) and b"\0" not in text:
        return None  # counting is much faster than the search, and nearly every message ends here
    found = _WRONG.search(text)
    return None if found is None else _FAULTS[found.group()]


_FAULTS = {b"\r": BodyFault.BARE_CR, b"\n": BodyFault.BARE_LF, b"\0": BodyFault.NUL}


def _only_pairs(text: bytes) -> bool:
    return text.count(b"\n") == text.count(b"\r\n") == text.count(b"\r")


def _normal(bare: re.Match[bytes]) -> bytes:
    """A bare line end's right form. The dot behind it was text to the client, so it is stuffed."""
    return b"\r\n.." if bare[2] else b"\r\n"
