"""Bans that all replicas share: what one decides, the others know within a second.

Of two bans of one network the one that ends later stands; one that was lifted stays lifted, whoever still had it, until
the network is banned anew. "Older" is by the replicas' own clocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

import msgspec
import trio

from tlsgate.admission.bans import Ban, Bans
from tlsgate.admission.network import parse_network

_AT_ONCE = 500
_Moment = Annotated[float, msgspec.Meta(ge=0, le=1e18)]


class BanStore(Protocol):
    """What a store does for bans: see ValkeyStore."""

    changed: Callable[[], None]

    @property
    def incarnation(self) -> int: ...
    @property
    def bans_version(self) -> int: ...

    async def exchange_bans(self, seen: int, bans: list[bytes]) -> tuple[int, list[bytes]] | None: ...


class SharedBans:
    """Keeps ``bans`` and a store's the same, while ``run`` does. Make it after what else hears of changes.

    Who hears of changes (as ``Bans.changed``) hears of those that others made too. ``clock``: as of Bans.
    """

    def __init__(self, bans: Bans, store: BanStore, clock: Callable[[], float] = time.time) -> None:
        self._bans = bans
        self._store = store
        self._clock = clock
        self._tell = bans.changed
        self._shared: dict[str, Ban] = {}  # in force, and known to others unless the store forgot
        self._given: dict[str, Ban] = {}  # the same, since the store's incarnation began
        self._lifted: dict[str, Shared] = {}  # not known to the store yet
        self._seen = 0
        self._incarnation = 0
        self._wake = trio.Event()
        self._wake.set()
        bans.changed = self._changed_here
        store.changed = self._changed_there

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self._exchange()

    def _changed_here(self) -> None:
        self._tell()
        self._wake.set()

    def _changed_there(self) -> None:
        self._wake.set()

    async def _exchange(self) -> None:
        """Give and take until there is nothing new, or the store is down: then it calls when it is back."""
        while True:
            incarnation = self._store.incarnation
            new = self._new(again=incarnation != self._incarnation)
            self._incarnation = incarnation
            if not new and self._seen == self._store.bans_version:
                return
            given = new[:_AT_ONCE]
            answer = await self._store.exchange_bans(self._seen, [_pack(each) for each in given])
            if answer is None:
                self._incarnation = 0
                return
            self._seen = answer[0]
            for each in given:
                if each.lifted:
                    self._lifted.pop(each.network, None)
                else:
                    self._shared[each.network] = self._given[each.network] = each.ban
            ours = set(given)
            self._take([each for each in _unpack(answer[1]) if each not in ours])

    def _new(self, again: bool) -> list[Shared]:
        """What the store doesn't know. ``again``: it may know nothing."""
        active, now = {ban.network: ban for ban in self._bans.active()}, self._clock()
        for network, ban in self._shared.items():
            if network not in active and ban.until > now:
                lifted_at = max(now, ban.since)
                self._lifted[network] = Shared(network, ban.since, lifted_at, ban.count, "", True)
        self._shared = {network: ban for network, ban in self._shared.items() if network in active}
        if again:
            self._seen, self._given = 0, {}
        banned = [_shared(ban) for network, ban in active.items() if self._given.get(network) != ban]
        return [*self._lifted.values(), *banned]

    def _take(self, theirs: Sequence[Shared]) -> None:
        """Let what the store has be in force here, but for what has changed here since."""
        if not theirs:
            return
        bans = {ban.network: ban for ban in msgspec.json.decode(self._bans.dump(), type=list[Ban])}
        now, changed = self._clock(), False
        for each in theirs:
            network, ours, ban = each.network, bans.get(each.network), each.ban
            active = ours if ours is not None and ours.until > now else None
            if active != self._shared.get(network) or network in self._lifted:
                continue  # the store hears of it next, and says which of the two stands
            if each.lifted:
                self._shared.pop(network, None)
                changed |= bans.pop(network, None) is not None
                continue
            if ban.until > now:
                self._shared[network] = self._given[network] = ban
            changed |= ours != ban
            bans[network] = ban
        if changed:
            self._bans.load(msgspec.json.encode(list(bans.values())))
            self._tell()


class Shared(msgspec.Struct, frozen=True, array_like=True):
    """A ban as the store has it, or ``lifted``: at ``until``, which else is when it ends."""

    network: str
    since: _Moment
    until: _Moment
    count: Annotated[int, msgspec.Meta(ge=1)]
    reason: str
    lifted: bool

    @property
    def ban(self) -> Ban:
        """As it is in force."""
        return Ban(self.network, self.since, self.until, self.count, self.reason)


_pack = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Shared)


def _shared(ban: Ban) -> Shared:
    return Shared(ban.network, ban.since, ban.until, ban.count, ban.reason, False)


def _unpack(packed: list[bytes]) -> list[Shared]:
    """Those that make sense."""
    found = []
    for each in packed:
        try:
            shared = _decoder.decode(each)
            network, cleared = parse_network(shared.network)
        except ValueError:
            continue
        if not cleared and str(network) == shared.network:
            found.append(shared)
    return found
