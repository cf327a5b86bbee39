"""What a fuzzer's octets decide beside the input itself: the first ones are choices, the others are the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import TypeVar

_Choice = TypeVar("_Choice")


class Choices:
    """Takes choices off the beginning of ``data``; what isn't there is 0. ``rest``: what no choice was made of."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]

    def octet(self) -> int:
        octet = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return octet

    def flag(self) -> bool:
        return bool(self.octet() & 1)

    def one(self, choices: Sequence[_Choice]) -> _Choice:
        return choices[self.octet() % len(choices)]

    def some(self, count: int) -> bytes:
        return bytes(self.octet() for _ in range(count))


def lines(data: bytes) -> list[bytes]:
    """``data`` cut behind each LF."""
    pieces = data.split(b"\n")
    return [each + b"\n" for each in pieces[:-1]] + pieces[-1:] * bool(pieces[-1])


def cut(pieces: Sequence[bytes], sizes: bytes) -> Iterator[bytes]:
    """The same octets in pieces that end where ``pieces`` do, and in between after 1 to 32 octets as ``sizes`` say."""
    size = cycle(1 + each % 32 for each in sizes or b"\0")
    for piece in pieces:
        at = 0
        while at < len(piece):
            end = at + next(size)
            yield piece[at:end]
            at = end
