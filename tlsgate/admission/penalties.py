"""What failed logins lead to: a delay for the network or the user name, then a ban of the network ([bans]).

Only failures count, never logins. A user name alone is never banned, or strangers could lock its owner out; and a
network from which a user has logged in lately isn't slowed by strangers who guess at that name.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import trio

from tlsgate import config
from tlsgate.admission import failures
from tlsgate.admission.bans import Bans
from tlsgate.admission.failures import Failure
from tlsgate.admission.network import ClientAddress, NetworkLengths
from tlsgate.admission.turns import Turns
from tlsgate.state.store import Store

_KNOWN = 30 * 86_400.0  # "lately": a phone that comes back from the holidays is still known
_DAY = 86_400
_SURE = 8192
_LONGEST_TURN = 15.0  # seconds that an attempt waits for those before it: their backend may hang
_KEPT = 2  # octets of a failure's hash
_STEPS = 4  # from the first delay to the longest
_ATTEMPTS = 20  # to change a record that other replicas change too


class Penalties(Protocol):
    """What a session asks and tells about its client's logins."""

    async def before_login(self, client: ClientAddress, user: str, waited: bool = False) -> float | None:
        """How many seconds the attempt waits before it asks again, as one that has ``waited``; None when the client is
        banned by now. At 0.0 it is under way, until ``ended`` is called once."""

    def ended(self, client: ClientAddress) -> None:
        """An attempt that was under way is judged, or given up."""

    async def failed(self, client: ClientAddress, user: str | None, shown: bytes) -> None:
        """A login was refused. ``shown``: the same octets for the same failure again, such as a hash of the secret."""

    async def logged_in(self, client: ClientAddress, user: str) -> None:
        """A login stands."""


class StoredPenalties:
    """Penalties over a store. ``key``: gives that of the hashes that secrets and names are compared by, at least 16
    octets. ``clock``: as of Bans."""

    def __init__(
        self,
        settings: config.Bans,
        lengths: NetworkLengths,
        store: Store,
        bans: Bans,
        key: Callable[[], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._lengths = lengths
        self._store = store
        self._bans = bans
        self._key = key
        self._clock = clock
        self._noting: dict[str, trio.Lock] = {}  # by key: in one process nobody need try again
        self._turns = Turns()
        self._sure: dict[str, int] = {}  # who is known, by the day of the last login: the store needn't be asked

    @property
    def lengths(self) -> NetworkLengths:
        """By which clients are of one network."""
        return self._lengths

    @lengths.setter
    def lengths(self, lengths: NetworkLengths) -> None:
        if lengths != self._lengths:  # attempts of now would end as those of networks that they weren't begun by
            self._lengths, self._turns = lengths, Turns()

    async def before_login(self, client: ClientAddress, user: str, waited: bool = False) -> float | None:
        if self._bans.find(client) is not None:
            return None
        network = str(self._lengths.network(client))
        known = self._known(network, user)
        if self._sure.get(known) != self._today():
            unknown = await self._store.read(known) is None
            if unknown and not waited and (delay := await self._delay(network, user)):
                return delay
            if self._bans.find(client) is not None:
                return None
        # Who is known may guess too: such a client never waits for what has failed, but takes its turn.
        if self._turns.under_way(network):
            await self._take_turn(network)
            if self._bans.find(client) is not None:
                self._turns.pass_on(network)
                return None
        self._turns.begin(network)
        return 0.0

    def ended(self, client: ClientAddress) -> None:
        self._turns.end(str(self._lengths.network(client)))

    async def _delay(self, network: str, user: str) -> float:
        of_network = len(await self._recent(_of_network(network)))
        of_user = len(await self._recent(self._of_user(user))) - self.settings.user_failures + 1
        return max(failures.delay(of_network), failures.delay(of_user))

    async def _take_turn(self, network: str) -> None:
        """No more of a network are judged at once than failures are left to its ban; one always may be."""
        if await self._is_free(network):
            return
        with trio.move_on_after(_LONGEST_TURN):
            while not await self._is_free(network):
                await self._turns.change(network)

    async def _is_free(self, network: str) -> bool:
        left = self.settings.failures - len(await self._recent(_of_network(network)))
        return self._turns.under_way(network) < max(1, left)  # counted now, not before the store has answered

    async def failed(self, client: ClientAddress, user: str | None, shown: bytes) -> None:
        network = self._lengths.network(client)
        # So short that it tells a repeated failure and, to who has the records and the key, no password.
        what = _hash(self._key(), (user or "").encode(), shown)[:_KEPT]
        if user is not None:
            await self._note(self._of_user(user), Failure(self._clock(), what), self.settings.user_failures + _STEPS)
        # What was under way when the ban came doesn't make it longer.
        if self._bans.find(client) is not None:
            return
        most = self.settings.failures
        full = await self._note(_of_network(str(network)), Failure(self._clock(), what), most, ends=True)
        if full and self._bans.find(client) is None:
            self._bans.punish(network, self.settings.duration, "failed logins")

    async def logged_in(self, client: ClientAddress, user: str) -> None:
        known, today = self._known(str(self._lengths.network(client)), user), self._today()
        if self._sure.get(known) == today:
            return
        record = b"%d" % today
        before = await self._store.read(known)
        if before == record or await self._store.swap(known, before, record, _KNOWN):
            if len(self._sure) >= _SURE:
                self._sure.clear()
            self._sure[known] = today

    # -- records ------------------------------------------------------------------------------------

    async def _recent(self, key: str) -> tuple[Failure, ...]:
        return failures.recent(_decode(await self._store.read(key)), self._clock(), self.settings.window)

    async def _note(self, key: str, new: Failure, most: int, *, ends: bool = False) -> bool:
        """Whether there are ``most`` by now. With ``ends`` all are forgotten then: only one who notes is told so."""
        lock = self._noting.setdefault(key, trio.Lock())
        try:
            async with lock:
                return await self._swap_noted(key, new, most, ends)
        finally:
            if not lock.locked():
                self._noting.pop(key, None)

    async def _swap_noted(self, key: str, new: Failure, most: int, ends: bool) -> bool:
        window = self.settings.window
        for _ in range(_ATTEMPTS):
            before = await self._store.read(key)
            noted = failures.recent(_decode(before), self._clock(), window)
            after = failures.with_one_more(noted, new, most)
            full = len(after) >= most
            put = None if full and ends else failures.encode(after)
            if put == before or await self._store.swap(key, before, put, window):
                return full
        return False

    def _today(self) -> int:
        return int(self._clock() // _DAY)

    def _known(self, network: str, user: str) -> str:
        return "known " + _of_names(self._key(), network, user.casefold())

    def _of_user(self, user: str) -> str:
        return "failures of user " + _of_names(self._key(), "", user.casefold())


def _hash(key: bytes, first: bytes, second: bytes) -> bytes:
    # Names can't hold NUL: no other pair makes the same octets.
    return hashlib.blake2b(first + b"\0" + second, key=key, digest_size=16).digest()


@lru_cache(4096)
def _of_names(key: bytes, first: str, second: str) -> str:
    """Of names only: what was hashed is kept here, and secrets mustn't be."""
    return _hash(key, first.encode(), second.encode()).hex()


def _decode(record: bytes | None) -> tuple[Failure, ...]:
    try:
        return failures.decode(record)
    except ValueError:  # not of our making: a login must not fail for it
        return ()


def _of_network(network: str) -> str:
    return f"failures of {network}"
