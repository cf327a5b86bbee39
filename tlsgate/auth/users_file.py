"""The source "users-file": a passwd-file or htpasswd file, reread when it changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from tlsgate.auth.hashes import PasswordHash
from tlsgate.auth.judgement import Finding
from tlsgate.auth.passwd import Fault, Users, read_users
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused

LARGEST = 64 * 1024 * 1024
POLL = 5.0
PATIENCE = 10.0
# One check keeps a core busy, or takes 64 MiB; more at once than cores would only make each slower.
CHECKING = trio.CapacityLimiter(max(2, len(os.sched_getaffinity(0))))


class UnusableFile(Exception):
    """A file that can't be the users file. The text says why."""


# What tells one content of a file from the next.
Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """A users file as it was read, of so many ``octets``. ``open_to_all``: everybody on the host may read it."""

    users: Users
    octets: int
    stamp: Stamp
    open_to_all: bool

    def remarks(self) -> Iterator[Fault]:
        """What is wrong with the file, though it is used."""
        users = self.users
        if self.open_to_all:
            yield Fault(0, "everybody on this host can read the hashes; chmod o-r")
        if not any(users.hashes.values()):
            yield Fault(0, "nobody can log in by it")
        yield from users.faults
        if more := users.faulty - len(users.faults):
            yield Fault(0, f"{more} more lines are faulty")


def load(path: Path) -> Content:
    """Read the whole file. Raises UnusableFile. Not for the trio loop."""
    try:
        if not path.is_file():
            path.stat()
            raise UnusableFile("is no file")
        with path.open("rb") as file:
            # Before it is read: a writer who comes meanwhile leaves another one.
            facts = os.fstat(file.fileno())
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UnusableFile(str(error.strerror)) from None
    if len(data) > LARGEST:
        raise UnusableFile(f"is larger than {LARGEST // 2**20} MiB")
    return Content(read_users(data), len(data), _stamp(facts), bool(facts.st_mode & stat.S_IROTH))


def _stamp(facts: os.stat_result) -> Stamp:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


class UsersFile:
    """The source. ``on_reread`` is told a new content, or why the old one stays in force; once each."""

    def __init__(self, path: Path, content: Content, on_reread: Callable[[Content | str], None]) -> None:
        self._path = path
        self._content = content
        self._on_reread = on_reread
        self._problem = ""
        self._poll_at = trio.current_time() + POLL
        self._polling = trio.CapacityLimiter(1)

    async def __call__(self, shown: Credentials) -> Finding | Refused | None:
        """None: the user isn't in the file, which takes as long to say as that a password is wrong."""
        if shown.authzid not in ("", shown.user):
            return Refused(Refusal.AUTHORIZATION_FAILED)
        await self._follow()
        users = self._content.users
        own = users.hashes.get(shown.user)
        looked_at = own or users.dummy
        right = looked_at is not None and await _check(looked_at, shown.secret)
        if right is None:
            return Finding.UNAVAILABLE
        if shown.user not in users.hashes:
            return None
        return Finding.RIGHT if right and own is not None else Refused(Refusal.AUTHENTICATION_FAILED)

    async def _follow(self) -> None:
        """Take over what has changed, if it is time to look; a login that comes meanwhile doesn't wait for it."""
        if trio.current_time() < self._poll_at or self._polling.borrowed_tokens:
            return
        self._poll_at = trio.current_time() + POLL
        before = self._content
        # A disk that hangs keeps one thread, and a session that is cut leaves it behind.
        try:
            found = await trio.to_thread.run_sync(
                _changed, self._path, before, limiter=self._polling, abandon_on_cancel=True
            )
        except UnusableFile as problem:
            if str(problem) != self._problem:
                self._problem = str(problem)
                self._on_reread(self._problem)
            return
        self._problem = ""
        if found is not None:
            self._content = found
            self._on_reread(found)


def _changed(path: Path, before: Content) -> Content | None:
    """The content if it isn't ``before`` any more. Raises UnusableFile."""
    try:
        facts = path.stat()
    except OSError as error:
        raise UnusableFile(str(error.strerror)) from None
    if _stamp(facts) == before.stamp:
        return None
    found = load(path)
    if before.octets and not found.octets:
        raise UnusableFile("is empty")  # somebody is about to write it, or the disk is full
    return found


async def _check(stored: PasswordHash, secret: bytes) -> bool | None:
    """Whether the password is right; None if that can't be said within PATIENCE, or at all."""
    with trio.move_on_after(PATIENCE):  # only the wait for a thread can be cut short, never the check itself
        try:
            return await trio.to_thread.run_sync(stored.matches, secret, limiter=CHECKING)
        except Exception:  # noqa: BLE001 - argon2 without memory, for one; that is no wrong password
            return None
    return None
