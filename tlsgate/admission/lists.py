"""A file that lists prefixes: one a line, "# reason" or "; reason" behind it, as Spamhaus's DROP and most others.

Everything here reads files and holds the interpreter for a while: not for the trio loop.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from msgspec import Struct

from tlsgate.admission.network import Network, parse_network
from tlsgate.admission.prefixes import PrefixSet
from tlsgate.config.fault import shown

MOST_BYTES = 64 * 1024**2
MOST_PREFIXES = 1_000_000
MOST_REMARKS = 20
_LONGEST_LINE = 1000
_LONGEST_REASON = 60
# A wider prefix with bits set behind its length is a slip or half a line: to clear them would list half the world.
_WIDEST_MENDED = {4: 8, 6: 16}
# A thread that only computes takes 5 ms of each of the trio loop's steps: measured with 100,000 lines, a task that
# sleeps 2 ms came round every 72 ms. With these rests it does every 3.5 ms, and the reading takes 0.5 s, not 0.36.
_LINES_AT_ONCE = 500
_REST = 0.0002
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ListFault(Exception):
    """Lists that can't be used. The text, a line each: the file, what is wrong, what would be right."""


class Stamp(NamedTuple):
    """What changes when a file does. ``changed``: ctime, which a chmod moves too. Both times in ns."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class LineRemark(Struct, frozen=True):
    """What is wrong with line ``number`` (0: with the whole file). The line isn't part of it, but for 60 characters."""

    number: int
    text: str


class AddressList(Struct, frozen=True):
    """What a file lists. ``bad_lines``: how many were skipped; ``remarks``: the first 20.

    ``blank``: there is only white space.
    """

    prefixes: PrefixSet
    bad_lines: int
    remarks: tuple[LineRemark, ...]
    stamp: Stamp
    blank: bool


def stamp_of(path: Path) -> Stamp:
    """The stamp of the file that ``path`` leads to. Raises OSError, or ListFault for what isn't a file."""
    return _stamp(path, path.stat())


def read_list(path: Path) -> AddressList:
    """Read a whole list. Raises OSError, or ListFault for one that would be no better when read again."""
    stamp_of(path)  # what isn't a file isn't even opened: a device may mind, a pipe would wait
    with open(path, "rb", opener=_open) as file:
        stamp = _stamp(path, os.fstat(file.fileno()))
        reader = _Reader(path, file)
        prefixes = PrefixSet(reader.prefixes())
    if not reader.listed and reader.bad_lines:
        raise ListFault(f"{path}: no line of it is a prefix; write one a line, such as 192.0.2.0/24 # why")
    if not reader.listed:
        reader.remark(0, "lists nothing")
    return AddressList(prefixes, reader.bad_lines, tuple(reader.remarks), stamp, reader.blank)


def unreadable(path: Path, error: OSError) -> str:
    """What to say of a file that can't be read."""
    return f"{path}: {error.strerror}; name a readable file that lists prefixes"


class _Reader:
    """One pass over a file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._taken = 0
        self.blank = True
        self.listed = 0
        self.bad_lines = 0
        self.remarks: list[LineRemark] = []

    def prefixes(self) -> Iterator[tuple[Network, str]]:
        """What its lines list, in their order. Raises OSError, ListFault."""
        for number, line in enumerate(self._lines(), 1):
            if not number % _LINES_AT_ONCE:
                time.sleep(_REST)
            if not line:
                continue
            self.blank = False
            if line[0] in b"#;":
                continue
            try:
                network, reason, mended = parse_line(line)
            except ValueError as wrong:
                self.bad_lines += 1
                self.remark(number, str(wrong))
                continue
            if mended:
                self.remark(number, f"{_shown(line)} has bits set behind its length: taken as {network}")
            self.listed += 1
            if self.listed > MOST_PREFIXES:
                raise ListFault(f"{self._path}: lists more than {MOST_PREFIXES} prefixes; list fewer, wider ones")
            yield network, reason

    def remark(self, number: int, text: str) -> None:
        if len(self.remarks) < MOST_REMARKS:
            self.remarks.append(LineRemark(number, text))

    def _lines(self) -> Iterator[bytes]:
        """Each line, stripped, and cut where it is too long: only a comment can be."""
        while line := self._piece():
            rest = line
            while len(rest) == _LONGEST_LINE and not rest.endswith(b"\n"):
                rest = self._piece()
            yield line.removeprefix(_BYTE_ORDER_MARK).strip()

    def _piece(self) -> bytes:
        piece = self._file.readline(_LONGEST_LINE)
        self._taken += len(piece)
        if self._taken > MOST_BYTES:
            raise _too_large(self._path)
        return piece


_LINE = re.compile(rb"([0-9A-Fa-f.:/]+)\s*(?:[#;](.*))?", re.DOTALL)


def parse_line(line: bytes) -> tuple[Network, str, bool]:
    """A stripped line's prefix, the reason behind it, and whether bits behind its length were cleared.

    Raises ValueError, with what is wrong.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{_shown(line)} is not a prefix")
    try:
        network, mended = parse_network(found[1].decode())
    except ValueError as wrong:
        raise ValueError(f"{_shown(line)} {wrong}") from None
    if mended and network.length < _WIDEST_MENDED[network.version]:
        raise ValueError(f"{_shown(line)} has bits set behind its length")
    return network, _reason(found[2]) if found[2] else "", mended


def _reason(comment: bytes) -> str:
    text = comment[: 4 * _LONGEST_REASON].decode(errors="replace").strip()[:_LONGEST_REASON]
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def _shown(line: bytes) -> str:
    return shown(line[: 4 * _LONGEST_REASON].decode(errors="replace"))


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(path: Path, found: os.stat_result) -> Stamp:
    if not stat.S_ISREG(found.st_mode):
        raise ListFault(f"{path}: is not a file; name a readable file that lists prefixes")
    if found.st_size > MOST_BYTES:
        raise _too_large(path)
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _too_large(path: Path) -> ListFault:
    return ListFault(f"{path}: is larger than {MOST_BYTES // 1024**2} MiB; list fewer, wider prefixes")
