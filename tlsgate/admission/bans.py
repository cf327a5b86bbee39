"""The networks that are banned now, and for how long: each ban of the same network is twice as long as the last."""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Protocol

import msgspec

from tlsgate.admission.network import BITS, ClientAddress, Network, parse_network

_LONGEST = 86_400.0  # to a day, unless the config's own first ban is longer
_REMEMBERED = 86_400.0  # after its end a ban still counts as the last one
_MOST = 100_000
_GO_AT_ONCE = 1_000  # of those, when there is no room: to look for the one that ends first takes long


class Ban(msgspec.Struct, frozen=True):
    """``network``: a prefix as text. ``since``, ``until``: seconds of the epoch. ``count``: which ban of it this is."""

    network: str
    since: float
    until: float
    count: Annotated[int, msgspec.Meta(ge=1)]
    reason: str


class BanTrace(Protocol):
    """What is told about bans as they come and go."""

    def banned(self, ban: Ban) -> None: ...
    def unbanned(self, network: str, reason: str) -> None: ...


class Bans:
    """Bans by network. Those that have ended are remembered for a day, since the next one is longer.

    ``clock``: seconds of the epoch. ``changed`` is called after each change made here, not for what ``load`` brings.
    """

    def __init__(self, trace: BanTrace, clock: Callable[[], float] = time.time) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._trace = trace
        self._clock = clock
        self._bans: dict[Network, Ban] = {}
        self._counts: Counter[tuple[int, int]] = Counter()  # by version and length
        self._lengths: dict[int, tuple[int, ...]] = {}
        self._swept = clock()
        self._next_end = math.inf

    def __len__(self) -> int:
        """How many are in force. Safe in another thread."""
        return sum(1 for _ in self.active())

    def active(self) -> Iterator[Ban]:
        """Those in force."""
        now = self._clock()
        return (ban for ban in tuple(self._bans.values()) if ban.until > now)

    def find(self, client: ClientAddress) -> Ban | None:
        """The ban in force that holds a client, the widest first."""
        version, value = client
        for length in self._lengths.get(version, ()):
            shift = BITS[version] - length
            ban = self._bans.get(Network(version, value >> shift << shift, length))
            if ban is not None and ban.until > self._clock():
                return ban
        return None

    def punish(self, network: Network, seconds: float, reason: str) -> Ban:
        """Ban for ``seconds``, twice as long for each ban that is remembered, to a day."""
        last = self._bans.get(network)
        count = 1 if last is None or last.until + _REMEMBERED <= self._clock() else last.count + 1
        longest = max(_LONGEST, seconds)
        return self._put(network, min(seconds * 2.0 ** min(count - 1, 64), longest), count, reason)

    def add(self, network: Network, seconds: float, reason: str) -> Ban:
        """Ban for ``seconds``, as an administrator says."""
        last = self._bans.get(network)
        return self._put(network, seconds, last.count if last else 1, reason)

    def lift(self, network: Network, reason: str) -> bool:
        """End and forget a ban; False when there is none in force."""
        ban = self._bans.get(network)
        if ban is None:
            return False
        self._forget(network)
        in_force = ban.until > self._clock()
        if in_force:
            self._trace.unbanned(ban.network, reason)
        self.changed()
        return in_force

    def sweep(self) -> None:
        """Tell of the bans that have ended since the last call, and forget the old ones. Cheap when there are none."""
        now = self._clock()
        if now < self._next_end:
            return
        before, self._swept = self._swept, now
        self._next_end = math.inf
        for network, ban in tuple(self._bans.items()):
            if before < ban.until <= now:
                self._trace.unbanned(ban.network, "time")
            if ban.until + _REMEMBERED <= now:
                self._forget(network)
            else:
                self._next_end = min(self._next_end, ban.until if ban.until > now else ban.until + _REMEMBERED)

    def dump(self) -> bytes:
        """All of it, for ``load``."""
        return msgspec.json.encode(list(self._bans.values()))

    def load(self, dumped: bytes) -> None:
        """Take over what ``dump`` gave, here or elsewhere; what was here is gone. Raises ValueError."""
        try:
            bans = msgspec.json.decode(dumped, type=list[Ban])
        except RecursionError:
            raise ValueError("nested too deeply") from None
        loaded = {parse_network(ban.network)[0]: ban for ban in bans[:_MOST]}
        for network in tuple(self._bans):
            self._forget(network)
        for network, ban in loaded.items():
            self._keep(network, ban)
        self._swept = self._clock()  # what has ended by now is no news

    def _put(self, network: Network, seconds: float, count: int, reason: str) -> Ban:
        if len(self._bans) >= _MOST and network not in self._bans:
            for each in heapq.nsmallest(_GO_AT_ONCE, self._bans, key=lambda each: self._bans[each].until):
                self._forget(each)
        now = self._clock()
        ban = Ban(str(network), now, now + seconds, count, reason)
        self._keep(network, ban)
        self._trace.banned(ban)
        self.changed()
        return ban

    def _keep(self, network: Network, ban: Ban) -> None:
        if network not in self._bans:
            self._count(network, 1)
        self._bans[network] = ban
        self._next_end = min(self._next_end, ban.until)

    def _forget(self, network: Network) -> None:
        del self._bans[network]
        self._count(network, -1)

    def _count(self, network: Network, change: int) -> None:
        """Keep in mind which lengths ``find`` must look for."""
        kind = network.version, network.length
        self._counts[kind] += change
        if self._counts[kind] in (0, change):
            lengths = sorted(length for version, length in +self._counts if version == network.version)
            self._lengths[network.version] = tuple(lengths)
