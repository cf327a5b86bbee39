"""List files are read again when they change. What can't be read leaves the list that is in force."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import trio

from tlsgate.admission.lists import AddressList, ListFault, Stamp, read_list, stamp_of, unreadable
from tlsgate.admission.network import ClientAddress
from tlsgate.admission.prefixes import Found

POLL = 2.0
# A file is taken once two polls saw the same: half of one that is being written may list what its whole doesn't.
# One that never rests is taken all the same.
_PATIENCE = 5
_THREADS = 4  # a file system that hangs keeps one


class ListTrace(Protocol):
    """What is told about list files. ``line`` 0: the whole file."""

    def list_reloaded(self, path: Path, prefixes: int, bad_lines: int) -> None: ...
    def list_bad_line(self, path: Path, line: int, reason: str) -> None: ...
    def list_unreadable(self, path: Path, fault: str) -> None: ...


class ListFile:
    """A list file and what it lists now: ``listed`` is replaced as a whole. Raises OSError, ListFault.

    Reads the file: not for the trio loop.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listed = read_list(path)

    def __str__(self) -> str:
        return str(self.path)

    def find(self, address: ClientAddress) -> Found | None:
        """The longest prefix that holds ``address``."""
        return self.listed.prefixes.find(address)


class Change:
    """Decides at each poll of a file, which is in force as ``known``, whether there is something to do."""

    def __init__(self, path: Path, known: Stamp) -> None:
        self._path = path
        self._known = known
        self._before: Stamp | str = known
        self._restless = 0
        self._told: str | None = None

    def poll(self) -> AddressList | str | None:
        """The file's new list, or what is wrong with it and wasn't said yet. Reads files: not for the trio loop."""
        now = self._now()
        settled, self._before = now == self._before, now
        if now == self._known:
            self._restless, self._told = 0, None
            return None
        self._restless += 1
        if not settled and self._restless < _PATIENCE:
            return None
        if isinstance(now, str):
            return self._once(now)
        self._restless = 0
        try:
            listed = read_list(self._path)
        except OSError as error:
            return self._once(unreadable(self._path, error))  # and try again: it may be well without a change
        except ListFault as fault:
            self._known = now
            return self._once(str(fault))
        self._known = listed.stamp
        if listed.blank:  # a download that failed, or a disk that was full; it would let everybody in
            return self._once(f"{self._path}: is empty; keep a comment line in it to mean that")
        self._told = None
        return listed

    def _now(self) -> Stamp | str:
        try:
            return stamp_of(self._path)
        except OSError as error:
            return unreadable(self._path, error)
        except ListFault as fault:
            return str(fault)

    def _once(self, fault: str) -> str | None:
        news = None if fault == self._told else fault
        self._told = fault
        return news


async def watch(files: Iterable[ListFile], trace: ListTrace) -> None:
    """Keep ``files`` as they are on disk, until it is cancelled."""
    threads = trio.CapacityLimiter(_THREADS)
    async with trio.open_nursery() as nursery:
        for file in files:
            nursery.start_soon(_watch_one, file, trace, threads)


async def _watch_one(file: ListFile, trace: ListTrace, threads: trio.CapacityLimiter) -> None:
    change = Change(file.path, file.listed.stamp)
    while True:
        await trio.sleep(POLL)
        news = await trio.to_thread.run_sync(change.poll, abandon_on_cancel=True, limiter=threads)
        if isinstance(news, AddressList):
            file.listed = news
            trace.list_reloaded(file.path, news.prefixes.count, news.bad_lines)
            tell_remarks(file, trace)
        elif news is not None:
            trace.list_unreadable(file.path, news)


def tell_remarks(file: ListFile, trace: ListTrace) -> None:
    """Tell what is wrong with the list in force; also once after it was first read."""
    for remark in file.listed.remarks:
        trace.list_bad_line(file.path, remark.number, remark.text)
