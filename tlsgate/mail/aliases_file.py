"""The file of aliases is read again when it changes. What can't be used leaves what is in force."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

import trio
from msgspec import Struct

from tlsgate.admission.lists import Stamp
from tlsgate.dialogue.smtp_syntax import Path as SmtpPath
from tlsgate.mail.aliases import Aliases, read_aliases

LARGEST = 16 * 1024**2
POLL = 2.0


class UnusableAliases(Exception):
    """A file that can't be the file of aliases. The text says why."""


class AliasesTrace(Protocol):
    """What is told about the file of aliases."""

    def aliases_reloaded(self, path: Path, logins: int, bad_lines: int) -> None: ...
    def aliases_bad_line(self, path: Path, line: int, reason: str) -> None: ...
    def aliases_unreadable(self, path: Path, fault: str) -> None: ...


class Content(Struct, frozen=True):
    """The file as it was read, of so many ``octets``."""

    aliases: Aliases
    octets: int
    stamp: Stamp


def load(path: Path) -> Content:
    """Read the whole file. Raises UnusableAliases. Not for the trio loop."""
    _stamp_at(path)  # what isn't a file isn't even opened: a pipe would wait
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())  # before it is read: a writer who comes meanwhile leaves another one
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UnusableAliases(str(error.strerror)) from None
    if len(data) > LARGEST:
        raise UnusableAliases(f"is larger than {LARGEST // 1024**2} MiB")
    return Content(read_aliases(data), len(data), _stamp(facts))


def _stamp_at(path: Path) -> Stamp:
    try:
        facts = path.stat()
    except OSError as error:
        raise UnusableAliases(str(error.strerror)) from None
    if not stat.S_ISREG(facts.st_mode):
        raise UnusableAliases("is no file")
    return _stamp(facts)


def _stamp(facts: os.stat_result) -> Stamp:
    return Stamp(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


class AliasesFile:
    """The file, and the aliases in force: ``content`` is replaced as a whole. Raises UnusableAliases.

    Reads the file: not for the trio loop.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = load(path)
        self._before: Stamp | str = self.content.stamp
        self._told = ""

    @property
    def aliases(self) -> Aliases:
        """What the file said when it was last read."""
        return self.content.aliases

    def may_send(self, user: str, sender: SmtpPath) -> bool:
        """As of the aliases in force."""
        return self.aliases.may_send(user, sender)

    def poll(self) -> Content | str | None:
        """A new content to ``take``, or what is wrong with the file and wasn't said yet. Not for the trio loop.

        A change counts once two polls saw the same: half of a file would refuse mail of those in its other half.
        """
        now: Stamp | str
        try:
            now = _stamp_at(self.path)
        except UnusableAliases as fault:
            now = str(fault)
        settled, self._before = now == self._before, now
        if now == self.content.stamp:
            self._told = ""
            return None
        if not settled:
            return None
        return self._once(now) if isinstance(now, str) else self._read()

    def _read(self) -> Content | str | None:
        try:
            found = load(self.path)
        except UnusableAliases as fault:
            return self._once(str(fault))
        if self.content.octets and not found.octets:
            return self._once("is empty")  # somebody is about to write it, or the disk is full
        return found

    def _once(self, fault: str) -> str | None:
        news = None if fault == self._told else fault
        self._told = fault
        return news

    def take(self, content: Content) -> None:
        """Put a new content in force."""
        self.content, self._told = content, ""


async def watch(file: AliasesFile, trace: AliasesTrace) -> None:
    """Keep the aliases as they are on disk, until it is cancelled."""
    thread = trio.CapacityLimiter(1)
    while True:
        await trio.sleep(POLL)
        # A disk that hangs keeps one thread, and who is cancelled leaves it behind.
        news = await trio.to_thread.run_sync(file.poll, abandon_on_cancel=True, limiter=thread)
        if isinstance(news, Content):
            file.take(news)
            trace.aliases_reloaded(file.path, len(news.aliases.patterns), news.aliases.bad_lines)
            tell_remarks(file, trace)
        elif news is not None:
            trace.aliases_unreadable(file.path, news)


def tell_remarks(file: AliasesFile, trace: AliasesTrace) -> None:
    """Tell what is wrong with the aliases in force; also once after they were first read."""
    for remark in file.aliases.remarks:
        trace.aliases_bad_line(file.path, remark.number, remark.text)
