"""A file that a source goes by, reread when it changes; what can't be read leaves the old content in force."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import trio

LARGEST = 64 * 1024 * 1024
POLL = 5.0

# What tells one content of a file from the next.
Stamp = tuple[int, ...]


class UnusableFile(Exception):
    """A file that can't be used. The text says why."""


class Read(Protocol):
    """A file's content, of so many ``octets``."""

    @property
    def octets(self) -> int: ...
    @property
    def stamp(self) -> Stamp: ...


Content = TypeVar("Content", bound=Read)


def read_file(path: Path) -> tuple[bytes, os.stat_result]:
    """The whole file, and its facts from before it was read. Raises UnusableFile, OSError. Not for the trio loop."""
    # A pipe is opened without waiting for its writer, to be refused.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise UnusableFile("is no file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UnusableFile(f"is larger than {LARGEST // 2**20} MiB")
    return data, facts


def stamp_of(facts: os.stat_result) -> Stamp:
    """Of a file with these facts."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


class Followed(Generic[Content]):
    """A file that ``load`` reads, raising UnusableFile, and that says ``content`` so far.

    ``on_reread`` is told a new content, or why the old one stays in force; once each.
    """

    def __init__(
        self,
        path: Path,
        content: Content,
        load: Callable[[Path], Content],
        on_reread: Callable[[Content | str], None],
    ) -> None:
        self._path = path
        self._content = content
        self._load = load
        self._on_reread = on_reread
        self._problem = ""
        self._poll_at = trio.current_time() + POLL
        self._polling = trio.CapacityLimiter(1)

    async def now(self) -> Content:
        """What is in force. Looked at again if it is time to; who comes meanwhile doesn't wait for that."""
        if trio.current_time() < self._poll_at or self._polling.borrowed_tokens:
            return self._content
        self._poll_at = trio.current_time() + POLL
        # A disk that hangs keeps one thread, and a session that is cut leaves it behind.
        try:
            found = await trio.to_thread.run_sync(
                self._changed, self._content, limiter=self._polling, abandon_on_cancel=True
            )
        except UnusableFile as problem:
            if str(problem) != self._problem:
                self._problem = str(problem)
                self._on_reread(self._problem)
            return self._content
        self._problem = ""
        if found is not None:
            self._content = found
            self._on_reread(found)
        return self._content

    def _changed(self, before: Content) -> Content | None:
        """The content if it isn't ``before`` any more. Raises UnusableFile."""
        try:
            facts = self._path.stat()
        except OSError as error:
            raise UnusableFile(str(error.strerror)) from None
        if stamp_of(facts) == before.stamp:
            return None
        found = self._load(self._path)
        if before.octets and not found.octets:
            raise UnusableFile("is empty")  # somebody is about to write it, or the disk is full
        return found
