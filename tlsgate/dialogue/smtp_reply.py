"""SMTP replies (RFC 5321 4.2), the same value in both directions."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from tlsgate.dialogue.buffer import LineTooLong, ReceiveBuffer
from tlsgate.dialogue.events import NEED_DATA, NeedData, RemoteProtocolError
from tlsgate.dialogue.replies import printable

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*?))?\r?\n", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")
LONGEST_LINE = 2048  # RFC 5321 4.5.3.1.5 says 512; real servers pass it
MOST_LINES = 128


class SmtpReply(Struct, frozen=True):
    """A reply: its three-digit code and its lines' texts, printable, without codes."""

    code: int
    lines: tuple[str, ...] = ("",)

    @property
    def positive(self) -> bool:
        """2xx and 3xx."""
        return self.code < 400

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463) that begins the text, or ""."""
        found = _ENHANCED.match(self.lines[0])
        return found[1] if found else ""

    @property
    def text(self) -> str:
        """The first line without its enhanced code."""
        return self.lines[0][len(self.enhanced) :].strip()

    def encode(self) -> bytes:
        """The reply for the wire, on as many lines as it has."""
        last = len(self.lines) - 1
        return "".join(
            f"{self.code}{' ' if index == last else '-'}{line}\r\n" for index, line in enumerate(self.lines)
        ).encode()


def reply(code: str, text: str) -> SmtpReply:
    """A reply of ours: ``code`` as in "550 5.7.1"."""
    basic, _, enhanced = code.partition(" ")
    return SmtpReply(int(basic), (f"{enhanced} {text}".strip(),))


class ReplyReader:
    """Takes replies out of what a server sends, within bounds."""

    __slots__ = ("_buffer", "_code", "_lines")

    def __init__(self, buffer: ReceiveBuffer) -> None:
        self._buffer = buffer
        self._code = 0
        self._lines: list[str] = []

    def next_reply(self) -> SmtpReply | NeedData:
        """The next whole reply, or NEED_DATA. Raises RemoteProtocolError on nonsense or a flood."""
        while True:
            try:
                line = self._buffer.line(LONGEST_LINE)
            except LineTooLong:
                raise RemoteProtocolError("reply line too long") from None
            if line is None:
                return NEED_DATA
            code, more, text = _parse(line)
            if self._lines and code != self._code:
                raise RemoteProtocolError("reply code changes between lines")
            self._code = code
            self._lines.append(text)
            if len(self._lines) > MOST_LINES:
                raise RemoteProtocolError("reply has too many lines")
            if not more:
                lines, self._lines = tuple(self._lines), []
                return SmtpReply(code, lines)


@lru_cache(256)  # a backend's EHLO has the same lines each time
def _parse(line: bytes) -> tuple[int, bool, str]:
    """A line's code, whether more follow, and its text. Raises RemoteProtocolError."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise RemoteProtocolError("not an SMTP reply")
    return int(found[1]), found[2] == b"-", printable(found[3] or b"", LONGEST_LINE)
