"""A file's lines, found by their keys, in little more memory than the file takes.

A million lines as Python objects would be hundreds of MB in each worker. One bytes object and an array are what the
file has and 8 MiB, and forked workers share them.
"""

from __future__ import annotations

import codecs
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from tlsgate.auth.followed import Stamp, UnusableFile

MOST_LINES = 1_000_000
MOST_FAULTS = 100
_LONGEST_LINE = 8192
# A thread that only computes holds the trio loop up; with these rests it doesn't.
_LINES_AT_ONCE = 500
_REST = 0.0002

# Gives a line's key, b"" for a line that says nothing. Raises ValueError for a faulty one, with nothing secret in it.
Check = Callable[[bytes], bytes]


class LineFault(Struct, frozen=True):
    """What is wrong with a line; with the file: ``line`` 0."""

    line: int
    text: str


class LineTable:
    """Reads all lines. ``check`` looks at each once; ``key`` then gives the key of one that is good, without a look.

    A faulty line is left out; of lines with one key, the first counts. ``faults``: the first MOST_FAULTS of ``faulty``.
    Takes a while: not for the trio loop. Raises UnusableFile.
    """

    __slots__ = ("_data", "_key", "_slots", "count", "faults", "faulty")

    def __init__(self, data: bytes, check: Check, key: Callable[[bytes], bytes]) -> None:
        self._data = data.removeprefix(codecs.BOM_UTF8)
        self._key = key
        self.count = self.faulty = 0
        self.faults: list[LineFault] = []
        most = self._data.count(b"\n") + 1
        if most > MOST_LINES + 1:
            raise UnusableFile(f"has more than {MOST_LINES} lines")
        # Open addressing, at most half full: where a line begins, and 1; 0 for nothing.
        self._slots = array("I", bytes(4 << (2 * most).bit_length()))
        self._read(check)

    def __reduce__(self) -> tuple[Callable[..., LineTable], tuple[object, ...]]:
        """For a process that only admits connections: what is wrong with the file, and none of its lines."""
        return _without_lines, (self.count, self.faults, self.faulty)

    def _read(self, check: Check) -> None:
        start, number = 0, 0
        while start < len(self._data):
            number += 1
            if not number % _LINES_AT_ONCE:
                time.sleep(_REST)
            line = self._line(start)
            try:
                if len(line) > _LONGEST_LINE:
                    raise ValueError(f"it is longer than {_LONGEST_LINE} octets")
                if key := check(line):
                    self._add(key, start)
            except ValueError as fault:
                self.faulty += 1
                if len(self.faults) < MOST_FAULTS:
                    self.faults.append(LineFault(number, str(fault)))
            start = self._end(start) + 1

    def _add(self, key: bytes, start: int) -> None:
        slot = self._slot(key)
        if self._slots[slot]:
            raise ValueError("an earlier line has its user, and counts")
        self._slots[slot] = start + 1
        self.count += 1

    def find(self, key: bytes) -> bytes | None:
        """The line with ``key``."""
        taken = self._slots[self._slot(key)]
        return self._line(taken - 1) if taken else None

    def _slot(self, key: bytes) -> int:
        """Where ``key`` is, or would be."""
        last = len(self._slots) - 1
        slot = hash(key) & last
        while (taken := self._slots[slot]) and self._key(self._line(taken - 1)) != key:
            slot = slot + 1 & last
        return slot

    def _end(self, start: int) -> int:
        end = self._data.find(b"\n", start)
        return len(self._data) if end < 0 else end

    def _line(self, start: int) -> bytes:
        return self._data[start : self._end(start)].removesuffix(b"\r")


def _without_lines(count: int, faults: list[LineFault], faulty: int) -> LineTable:
    table = LineTable(b"", lambda _: b"", lambda _: b"")
    table.count, table.faults, table.faulty = count, faults, faulty
    return table


class Lines(Struct, frozen=True):
    """A file as it was read, of so many ``octets``."""

    path: Path
    table: LineTable
    octets: int
    stamp: Stamp

    def remarks(self) -> list[LineFault]:
        """What is wrong with the file, though it is used."""
        found = list(self.table.faults)
        if not self.table.count:
            found.insert(0, LineFault(0, "names no user"))
        if more := self.table.faulty - len(self.table.faults):
            found.append(LineFault(0, f"{more} more lines are faulty"))
        return found
