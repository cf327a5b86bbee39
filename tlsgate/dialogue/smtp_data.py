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
LONGEST_LINE = 998  # RFC 5322 2.1.1
_TERMINATOR = b"\r\n.\r\n"
_PREFIXES = tuple(_TERMINATOR[:length] for length in range(4, 0, -1))
# What a bare LF may change the meaning of: the stuffed dot before it, and a dot behind it.
_PREFIXES_WITH_LF = (*_PREFIXES[:1], b"\r\n.\n", *_PREFIXES[1:], b"\n")
_BARE_END = rb"(?:\r(?!\n)|(?<!\r)\n)"
# A stuffed dot that was alone on the line before a bare end, a dot that begins the line behind one, and bare ends. Each
# is replaced by a constant: to be called for each of a message full of them would hold everybody up.
_STUFFED_BEFORE = re.compile(rb"(?<=\r\n)\.(?=" + _BARE_END + rb")")
_DOT_BEHIND = re.compile(_BARE_END + rb"\.")
_BARE = re.compile(_BARE_END)
_WRONG = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


class BodyFault(enum.StrEnum):
    """Why a message can't be passed on."""

    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"
    NUL = "nul"
    LONG_LINE = "long_line"
    TOO_LARGE = "too_large"


class BodyDecoder:
    """What a message is held against, however it is sent.

    ``limit``: the most octets that a message may have. ``normalize``: bare CRs and LFs become CR LF and are no fault;
    the message's size and lines are then those of what is passed on. ``longest_line``: the most octets of a line
    without its CR LF and a stuffed dot (RFC 5321 4.5.3.1.6, RFC 5322 2.1.1), None when the backend copes with any.

    ``size`` counts the message's octets without stuffed dots (RFC 1870 5). ``fault``: the first octet that is wrong,
    else whether it is too large; after a fault nothing more is given out. ``ended`` tells that the message is whole,
    ``rest`` what came behind.
    """

    __slots__ = (
        "_held",
        "_limit",
        "_line",
        "_longest_line",
        "_normalize",
        "_virtual",
        "ended",
        "fault",
        "rest",
        "size",
    )

    def __init__(self, limit: int, *, normalize: bool = False, longest_line: int | None = LONGEST_LINE) -> None:
        self._limit = limit
        self._normalize = normalize
        self._longest_line = longest_line
        # The line end of the command itself: what follows it begins a line.
        self._held = b"\r\n"
        self._virtual = 2
        self._line = 0
        self.ended = False
        self.fault: BodyFault | None = None
        self.rest = b""
        self.size = 0

    def _hold(self, text: bytes, prefixes: tuple[bytes, ...]) -> bytes:
        """Keep the first of ``prefixes`` that the text ends with; give what is before it."""
        held = next((len(prefix) for prefix in prefixes if text.endswith(prefix)), 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def _checked(self, text: bytes) -> bytes:
        """Take dot-stuffed text, cut neither inside CR LF nor between it and a dot; give what may be passed on."""
        if not text:
            return b""
        if self.fault in (None, BodyFault.TOO_LARGE):
            self.fault = self._first_fault(text) or self.fault
        dots = text.count(b"\r\n.")
        text, self._virtual = text[self._virtual :], 0
        self.size += len(text) - dots
        if self.size > self._limit and self.fault is None:
            self.fault = BodyFault.TOO_LARGE
        return b"" if self.fault else text

    def _first_fault(self, text: bytes) -> BodyFault | None:
        # Counting is much faster than the search, and nearly every message has nothing to be found.
        found = None if only_pairs(text) and b"\0" not in text else _WRONG.search(text)
        right = text[: found.start()] if found else text
        if self._longest_line is not None and self._passes(self._longest_line, right):
            return BodyFault.LONG_LINE
        return None if found is None else _FAULTS[found.group()]

    def _passes(self, most: int, text: bytes) -> bool:
        """Whether a line of ``text``, which has CR LF line ends only, has more than ``most`` octets.

        It goes from one line end to the last within reach behind it: what is between can't be too long.
        """
        at, reach = 0, most - self._line
        while len(text) - at > reach:
            end = text.rfind(b"\n", at, at + reach + 2)
            if end < 0:
                return True
            at = end + 1
            reach = most + text.startswith(b".", at)
        begin = text.rfind(b"\n") + 1
        carried = 0 if begin else self._line
        self._line = carried + len(text) - begin - (begin > 0 and text.startswith(b".", begin))
        return False


class DataDecoder(BodyDecoder):
    """Splits what follows 354 into body pieces and the rest behind the end.

    ``feed`` gives the octets that may go to the backend now; ``ended`` tells that the end was seen. After a fault the
    end is still looked for.
    """

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Take octets from the client, give those that may be forwarded (maybe none)."""
        text = self._held + data
        end = text.find(_TERMINATOR)
        if end >= 0:
            self.ended = True
            self.rest = text[end + len(_TERMINATOR) :]
            text, self._held = text[: end + 2], b""
        else:
            text = self._hold(text, _PREFIXES_WITH_LF if self._normalize else _PREFIXES)
        if self._normalize and not only_pairs(text):
            text = _STUFFED_BEFORE.sub(b"", text)
            # The dot behind a bare end was text to the client, so it is stuffed.
            text = _BARE.sub(b"\r\n", _DOT_BEHIND.sub(b"\r\n..", text))
        return self._checked(text)


_FAULTS = {b"\r": BodyFault.BARE_CR, b"\n": BodyFault.BARE_LF, b"\0": BodyFault.NUL}


def only_pairs(text: bytes) -> bool:
    """Whether every CR and LF is half of a CR LF."""
    return text.count(b"\n") == text.count(b"\r\n") == text.count(b"\r")
