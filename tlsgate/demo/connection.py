"""Lines, literals and messages off one stream, each with a bound and in linear time."""

import trio

MAX_LINE = 64 * 1024
MAX_MESSAGE = 64 * 1024 * 1024
TIMEOUT = 30 * 60.0
"""Seconds that one read or write may wait (RFC 3501 section 5.4 asks for 30 minutes)."""

_CHUNK = 256 * 1024
_END_OF_DATA = b"\r\n.\r\n"


class Disconnected(Exception):
    """The client has gone."""


class LineTooLong(Exception):
    """A line, or what a command holds besides its message, is longer than its bound."""


class Connection:
    """A client's byte stream. What has been received and not been read stays in one buffer."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def read_line(self) -> bytes:
        """Return the next line without its CRLF (or LF). Raises LineTooLong, Disconnected."""
        start = 0
        while (end := self._buffer.find(b"\n", start, MAX_LINE)) < 0:
            start = len(self._buffer)
            if start >= MAX_LINE:
                raise LineTooLong
            await self._fill()
        return self._take(end + 1).removesuffix(b"\n").removesuffix(b"\r")

    async def read_exactly(self, count: int) -> bytes:
        """Return the next `count` bytes. Raises Disconnected."""
        while len(self._buffer) < count:
            await self._fill()
        return self._take(count)

    async def read_data(self) -> bytes | None:
        """Return a message up to CRLF.CRLF, dots unstuffed (RFC 5321 section 4.5.2).

        A message over MAX_MESSAGE is read to its end, thrown away on the way, and given as None.
        """
        self._buffer[:0] = b"\r\n"  # the CRLF of the DATA line counts: an empty message is ".\r\n" alone
        start, fits = 0, True
        while (end := self._buffer.find(_END_OF_DATA, start)) < 0:
            start = max(0, len(self._buffer) - len(_END_OF_DATA) + 1)
            if start > MAX_MESSAGE:
                del self._buffer[:start]
                start, fits = 0, False
            await self._fill()
        data = self._take(end + len(_END_OF_DATA))
        fits = fits and end <= MAX_MESSAGE
        return data[: end + 2].replace(b"\r\n.", b"\r\n")[2:] if fits else None

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        with trio.fail_after(TIMEOUT):
            await self._stream.send_all(data)

    async def _fill(self) -> None:
        with trio.fail_after(TIMEOUT):
            data = await self._stream.receive_some(_CHUNK)
        if not data:
            raise Disconnected
        self._buffer += data

    def _take(self, count: int) -> bytes:
        with memoryview(self._buffer) as view:
            data = bytes(view[:count])
        del self._buffer[:count]
        return data
