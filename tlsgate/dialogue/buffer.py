"""The one place that knows about partial lines."""

from __future__ import annotations


class LineTooLong(Exception):
    """A line passed its bound before its end was seen."""


class ReceiveBuffer:
    """Bytes from one peer, taken out by lines or by counts.

    It remembers how far it has searched for a line end, so a peer that sends a byte at a time costs linear time.
    """

    __slots__ = ("_data", "_searched")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Add what the peer sent."""
        self._data += data

    def line(self, limit: int) -> bytes | None:
        """Take the next line up to and including its LF, or None while it is incomplete.

        ``limit`` is the most octets that the line may have, its end included.
        Raises LineTooLong as soon as more than that is known to be coming.
        """
        end = self._data.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._data)
            if self._searched >= limit:
                raise LineTooLong
            return None
        if end >= limit:
            raise LineTooLong
        return self.take(end + 1)

    def peek_line(self, limit: int) -> bytes | None:
        """The next line, left in place; None while it is incomplete or longer than ``limit``."""
        end = self._data.find(b"\n", 0, limit)
        return None if end < 0 else bytes(self._data[: end + 1])

    def take(self, count: int) -> bytes | None:
        """Take exactly ``count`` octets, or None while fewer are here."""
        if len(self._data) < count:
            return None
        taken = bytes(self._data[:count])
        del self._data[:count]
        self._searched = 0
        return taken

    def take_most(self, count: int) -> bytes:
        """Take ``count`` octets, or all while fewer are here."""
        return self.take(min(count, len(self._data))) or b""

    def put_back(self, data: bytes) -> None:
        """Octets that were taken come first again."""
        self._data[:0] = data
        self._searched = 0

    def take_all(self) -> bytes:
        """Take whatever is here, maybe nothing."""
        taken = bytes(self._data)
        self._data.clear()
        self._searched = 0
        return taken

    def first(self) -> int | None:
        """The first octet, left in place; None when empty."""
        return self._data[0] if self._data else None
