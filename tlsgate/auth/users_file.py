"""The source "users-file": a passwd-file or htpasswd file, with app passwords beside it."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import trio
from msgspec import Struct

from tlsgate.auth.app_passwords import AppPassword
from tlsgate.auth.app_passwords_file import AppContent
from tlsgate.auth.app_passwords_used import LastUses
from tlsgate.auth.attempt import Attempt
from tlsgate.auth.decoy_key import DecoyKey
from tlsgate.auth.followed import Followed, Stamp, read_file, stamp_of
from tlsgate.auth.followed import UnusableFile as UnusableFile
from tlsgate.auth.hashes import PasswordHash
from tlsgate.auth.judgement import Judgement, Right, Unavailable
from tlsgate.auth.passwd import Fault, Users, read_users
from tlsgate.auth.scram_shape import secret_of
from tlsgate.config import Protocol
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.dialogue.proofs import Proven
from tlsgate.dialogue.scram_secret import ScramSecret, decoy
from tlsgate.secret_file import CLOSE_IT, open_to_all

PATIENCE = 10.0
# One check keeps a core busy, or takes 64 MiB; more at once than cores would only make each slower.
CHECKING = trio.CapacityLimiter(max(2, len(os.sched_getaffinity(0))))


def share_cores(processes: int) -> None:
    """Check no more passwords at once than is this one's share, of so many ``processes``."""
    CHECKING.total_tokens = max(1, len(os.sched_getaffinity(0)) // processes)


class Content(Struct, frozen=True):
    """A users file as it was read, of so many ``octets``. ``open_to_all``: everybody on the host may read it."""

    users: Users
    octets: int
    stamp: Stamp
    open_to_all: bool

    def remarks(self) -> Iterator[Fault]:
        """What is wrong with the file, though it is used."""
        users = self.users
        if self.open_to_all:
            yield Fault(0, f"everybody on this host can read the hashes; {CLOSE_IT}")
        if not users.let_in:
            yield Fault(0, "nobody can log in by it")
        for scheme, count in users.weak.items():
            have = "1 user has a" if count == 1 else f"{count} users have"
            what = f"{{{scheme}}} hash" + ("" if count == 1 else "es")
            yield Fault(0, f"{have} {what}: easily guessed if the file leaks; set new ones by tlsgate user passwd")
        yield from users.faults
        if more := users.faulty - len(users.faults):
            yield Fault(0, f"{more} more lines are faulty")


def load(path: Path) -> Content:
    """Read the whole file. Raises UnusableFile. Not for the trio loop."""
    try:
        data, facts = read_file(path)
    except OSError as error:
        raise UnusableFile(str(error.strerror)) from None
    return Content(read_users(data), len(data), stamp_of(facts), open_to_all(facts))


class Verdict(enum.Enum):
    """What the file says of somebody."""

    RIGHT = enum.auto()
    WRONG = enum.auto()
    UNKNOWN = enum.auto()
    UNAVAILABLE = enum.auto()


class Found(Struct, frozen=True):
    """``label``: of the app password that was shown. ``weak``: the scheme of the right password's hash if it is weak.

    ``why``: a right app password is refused, for the log alone.
    """

    verdict: Verdict
    label: str = ""
    weak: str = ""
    why: str = ""


_WRONG, _UNKNOWN, _UNAVAILABLE = Found(Verdict.WRONG), Found(Verdict.UNKNOWN), Found(Verdict.UNAVAILABLE)


class UsersFile:
    """The source. ``on_reread`` is told a new content, or why the old one stays in force; once each.

    ``app_passwords``: their file, None without one; ``last_uses``: who is told of their use. ``decoy_key``: makes the
    SCRAM secrets of those who have none.
    """

    def __init__(
        self,
        path: Path,
        content: Content,
        on_reread: Callable[[Content | str], None],
        *,
        app_passwords: Followed[AppContent] | None = None,
        last_uses: LastUses | None = None,
        decoy_key: DecoyKey | None = None,
    ) -> None:
        self._file = Followed(path, content, load, on_reread)
        self._app_passwords = app_passwords
        self._last_uses = last_uses
        self._decoy_key = decoy_key or DecoyKey()

    async def __call__(self, attempt: Attempt) -> Judgement | None:
        """None: the user isn't in the file, which takes as long to say as that a password is wrong."""
        shown = attempt.shown
        if not isinstance(shown, Credentials | Proven):
            return None
        if shown.authzid not in ("", shown.user):
            return Refused(Refusal.AUTHORIZATION_FAILED)
        if isinstance(shown, Proven):
            found = await self.proven(shown.user)
        else:
            found = await self.check(shown.user, shown.secret, attempt.protocol, lambda: attempt.caller().address)
        match found.verdict:
            case Verdict.RIGHT:
                return Right(shown.user, label=found.label, weak=found.weak)
            case Verdict.UNAVAILABLE:
                return Unavailable("the users file's password can't be checked now")
            # A proof of SCRAM was made with a secret of this file, or with none at all: it is nobody else's to judge.
            case Verdict.UNKNOWN if isinstance(shown, Credentials) or attempt.mechanism == "EXTERNAL":
                return None
        return Refused(Refusal.AUTHENTICATION_FAILED, why=found.why)

    async def follow(self) -> None:
        """See whether the files have changed, if it is time to."""
        await self._file.now()
        if self._app_passwords is not None:
            await self._app_passwords.now()

    async def check(
        self, user: str, secret: bytes, protocol: Protocol, client: Callable[[], IPv4Address | IPv6Address]
    ) -> Found:
        """Whether a password is right, as an app password or as the user's own; ``client``: tells from where."""
        users = (await self._file.now()).users
        app = await self._app_password(user if users.lets_in(user) else "", secret)
        why = app.unfit(protocol, client()) if app else ""
        if app and not why:
            if self._last_uses:
                self._last_uses.note(user, app.label)
            return Found(Verdict.RIGHT, app.label)
        own = users.hashes.get(user)
        looked_at = own or users.dummy
        right = looked_at is not None and await _check(looked_at, secret)
        if right is None:
            return _UNAVAILABLE
        if user not in users.hashes:
            return _UNKNOWN
        if right and own is not None:
            return Found(Verdict.RIGHT, weak=own.scheme if own.weak else "")
        return Found(Verdict.WRONG, app.label, why=why) if app else _WRONG

    async def proven(self, user: str) -> Found:
        """Whether somebody may log in who has shown no password: by SCRAM, or by a certificate."""
        users = (await self._file.now()).users
        if user not in users.hashes:
            return _UNKNOWN
        return Found(Verdict.RIGHT) if users.lets_in(user) else _WRONG

    async def scram_secret(self, user: str) -> ScramSecret:
        """The user's own, or a decoy for who has none: the same each time, and of the shape that most have."""
        users = (await self._file.now()).users
        # Made for everybody: what is left to tell them apart by are 3 us.
        stand_in = decoy(user, await self._decoy_key(), users.scram_shape)
        return secret_of(users.hashes.get(user)) or stand_in

    async def _app_password(self, user: str, secret: bytes) -> AppPassword | None:
        if self._app_passwords is None:
            return None
        # Fast enough for the loop, and before the check that waits for its turn.
        return (await self._app_passwords.now()).passwords.find(user, secret)


async def _check(stored: PasswordHash, secret: bytes) -> bool | None:
    """Whether the password is right; None if that can't be said within PATIENCE, or at all."""
    with trio.move_on_after(PATIENCE):  # only the wait for a thread can be cut short, never the check itself
        try:
            return await trio.to_thread.run_sync(stored.matches, secret, limiter=CHECKING)
        except Exception:  # noqa: BLE001 - argon2 without memory, for one; that is no wrong password
            return None
    return None
