"""One connection that was let in: what it may ask of admission as it goes on, and what it must give back."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol

from msgspec import Struct

from tlsgate.admission.door import Entry
from tlsgate.admission.penalties import Penalties
from tlsgate.admission.rules import Standing
from tlsgate.state.store import Place, Store

_EXEMPT = (Standing.ALLOWED, Standing.TRUSTED)  # webmail and monitoring speak for many users


class Handshakes(Protocol):
    """Places for handshakes."""

    async def enter(self, deadline: float) -> int:
        """Take a place, if need be after those who came before: its number, or 0 when none is free by ``deadline``."""

    def leave(self, place: int) -> None:
        """Give a place back, if it isn't another's by now."""


class Desk(Struct, frozen=True):
    """What a listener's visits share. ``leave`` is told of each that ends. ``per_user``: places of one user name."""

    store: Store
    penalties: Penalties
    handshakes: Handshakes
    per_user: int
    leave: Callable[[Visit], None]


class Visit:
    """What one connection holds. ``leave`` gives all of it back, once, however the session ends."""

    __slots__ = ("_desk", "_under_way", "_user", "entry")

    def __init__(self, entry: Entry, desk: Desk) -> None:
        self.entry = entry
        self._desk = desk
        self._user: str | None = None
        self._under_way = False

    @property
    def handshakes(self) -> Handshakes:
        """Where a handshake takes its place."""
        return self._desk.handshakes

    @property
    def store(self) -> Store:
        """Where it is counted what this connection does."""
        return self._desk.store

    async def before_login(self, user: str, *, waited: bool = False) -> float | None:
        """How many seconds an attempt waits before it asks again, having ``waited``; None when the client is banned by
        now. At 0.0 it is under way, until ``judged``."""
        if self.entry.standing in _EXEMPT:
            return 0.0
        delay = await self._desk.penalties.before_login(self.entry.client, user, waited)
        self._under_way = delay == 0.0
        return delay

    def judged(self) -> None:
        """No attempt is under way any more."""
        if self._under_way:
            self._under_way = False
            self._desk.penalties.ended(self.entry.client)

    @property
    def under_way(self) -> bool:
        """Whether an attempt has had its turn, and isn't judged yet."""
        return self._under_way

    async def failed(self, user: str | None, secret: bytes) -> None:
        """A login was refused for what was shown. ``user``: None for a token that names nobody."""
        await self._failed(user, secret)

    async def mistaken(self, user: str | None, mistake: str) -> None:
        """A login was refused before its secret was looked at. The same user's same mistake counts once, as a password
        does that a phone has saved."""
        await self._failed(user, b"\0" + mistake.encode())  # no secret begins with NUL

    async def _failed(self, user: str | None, shown: bytes) -> None:
        if self.entry.standing not in _EXEMPT:
            # Hashed here: whoever counts, perhaps in another process, needs no secrets.
            what = blake2b((user or "").encode() + b"\0" + shown, digest_size=16).digest()
            await self._desk.penalties.failed(self.entry.client, user, what)

    async def logged_in(self, user: str) -> Place | None:
        """A login is good; or what is full: this user has no place left, or it is STATE_DOWN."""
        key = f"user {user.casefold()}"
        if (full := await self._desk.store.enter((Place(key, self._desk.per_user),))) is not None:
            return full
        self._user = key
        if self.entry.standing not in _EXEMPT:
            await self._desk.penalties.logged_in(self.entry.client, user)
        return None

    def leave(self) -> None:
        """The connection is closed."""
        self.judged()
        if self._user is not None:
            self._desk.store.leave((self._user,))
            self._user = None
        self._desk.leave(self)
