"""A message as it is meant, out of what SMTP carries: without the stuffed dots (RFC 5321 4.5.2)."""

from __future__ import annotations


class Unstuffer:
    """Takes a message's octets in pieces, cut anywhere. They have CR LF line ends only. Nothing is held over."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before = b"\r\n"  # what of a line end came last: the message's first dot may be stuffed too

    def feed(self, data: bytes) -> bytes:
        """The same octets without the dot that begins a line."""
        before = self._before
        text = before + data
        self._before = b"\r\n" if text.endswith(b"\r\n") else b"\r" if text.endswith(b"\r") else b""
        return text.replace(b"\r\n.", b"\r\n")[len(before) :]
