"""Bans that all replicas share: what one decides, the others know within a second.

Of two bans of one network the one that ends later stands; one that was lifted stays lifted, whoever still had it, until
the network is banned anew. "Older" is by the replicas' own clocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Protocol

import msgspec
import trio

from tlsgate.admission.bans import Ban, Bans
from tlsgate.admission.network import Network, parse_network

_AT_ONCE = 500  # a page takes a few ms
_MOST_UNTOLD = 100_000
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
    """Keeps ``bans`` and a store's the same, while ``run`` does.

    What others have decided is told as theirs, but not the bans that are found when the store is first met.
    """

    def __init__(self, bans: Bans, store: BanStore, clock: Callable[[], float] = time.time) -> None:
        self._bans = bans
        self._store = store
        self._clock = clock
        # What the store has to hear, in this order, by network and whether it is lifted. A ban that is lifted and made
        # anew is both: a shorter one would lose against it, if it weren't lifted first.
        self._untold: dict[tuple[str, bool], Shared | Ban] = {}
        self._seen = 0
        self._incarnation = 0
        self._met = False
        self._wake = trio.Event()
        self._wake.set()
        bans.decided = self._decided_here
        store.changed = self._changed_there

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self._exchange()

    def _decided_here(self, ban: Ban, lifted: bool) -> None:
        self._untold.pop((ban.network, False), None)
        if lifted:
            lifted_at = max(self._clock(), ban.since)
            self._untold[ban.network, True] = Shared(ban.network, ban.since, lifted_at, ban.count, "", True)
        else:
            self._untold[ban.network, False] = ban
        if len(self._untold) > _MOST_UNTOLD:
            del self._untold[next(iter(self._untold))]
        self._wake.set()

    def _changed_there(self) -> None:
        self._wake.set()

    async def _exchange(self) -> None:
        """Give and take until there is nothing new, or the store is down: then it calls when it is back."""
        while True:
            self._begin(self._store.incarnation)
            if not self._untold and self._seen == self._store.bans_version:
                self._met = self._incarnation != 0
                return
            given = list(islice(self._untold.items(), _AT_ONCE))
            answer = await self._store.exchange_bans(self._seen, [_pack(_shared(each)) for _, each in given])
            if answer is None:
                return
            self._seen = answer[0]
            for key, each in given:
                if self._untold.get(key) is each:
                    del self._untold[key]
            self._take(answer[1])

    def _begin(self, incarnation: int) -> None:
        """In a new incarnation the store may know nothing."""
        if incarnation != self._incarnation:
            self._incarnation, self._seen = incarnation, 0
            for ban in self._bans.active():
                self._untold.setdefault((ban.network, False), ban)

    def _take(self, packed: Sequence[bytes]) -> None:
        """Let what the store has be in force here, but for what has changed here since."""
        for network, theirs in _unpack(packed):
            if (theirs.network, False) in self._untold or (theirs.network, True) in self._untold:
                continue  # the store hears of it next, and says which of the two stands
            if theirs.lifted:
                self._bans.forget(network, "replica")
            else:
                self._bans.put(network, theirs.ban, "another replica" if self._met else None)


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


def _shared(ban: Ban | Shared) -> Shared:
    return ban if isinstance(ban, Shared) else Shared(ban.network, ban.since, ban.until, ban.count, ban.reason, False)


def _unpack(packed: Iterable[bytes]) -> Iterator[tuple[Network, Shared]]:
    """Those that make sense."""
    for each in packed:
        try:
            shared = _decoder.decode(each)
            network, cleared = parse_network(shared.network)
        except ValueError:
            continue
        if not cleared and str(network) == shared.network:
            yield network, shared
