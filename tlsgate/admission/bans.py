"""The networks that are banned now, and for how long: each ban of the same network is twice as long as the last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from tlsgate.admission.network import BITS, ClientAddress, Network, parse_network

_LONGEST = 86_400.0  # to a day, unless the config's own first ban is longer
_REMEMBERED = 86_400.0  # after its end a ban still counts as the last one
_MOST = 100_000


class Ban(msgspec.Struct, frozen=True):
    """``network``: a prefix as text. ``since``, ``until``: seconds of the epoch. ``count``: which ban of it this is."""

    network: str
    since: float
    until: float
    count: int
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
        self._lengths: dict[int, tuple[int, ...]] = {}
        self._next_end = float("inf")

    def __len__(self) -> int:
        """How many are in force."""
        return sum(1 for _ in self.active())

    def active(self) -> Iterator[Ban]:
        """Those in force."""
        now = self._clock()
        return (ban for ban in self._bans.values() if ban.until > now)

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
        ban = self._bans.pop(network, None)
        self._index()
        if ban is None or ban.until <= self._clock():
            return False
        self._trace.unbanned(ban.network, reason)
        self.changed()
        return True

    def sweep(self) -> None:
        """Tell of the bans that have ended since the last call, and forget the old ones. Cheap when there are none."""
        now = self._clock()
        if now < self._next_end:
            return
        old = [network for network, ban in self._bans.items() if ban.until + _REMEMBERED <= now]
        for ban in self._bans.values():
            if self._next_end <= ban.until <= now:
                self._trace.unbanned(ban.network, "time")
        for network in old:
            del self._bans[network]
        self._index()

    def dump(self) -> bytes:
        """All of it, for ``load``."""
        return msgspec.json.encode(list(self._bans.values()))

    def load(self, dumped: bytes) -> None:
        """Take over what ``dump`` gave, here or elsewhere; what was here is gone. Raises ValueError."""
        bans = msgspec.json.decode(dumped, type=list[Ban])
        self._bans = {parse_network(ban.network)[0]: ban for ban in bans[:_MOST]}
        self._index()

    def _put(self, network: Network, seconds: float, count: int, reason: str) -> Ban:
        if len(self._bans) >= _MOST and network not in self._bans:
            del self._bans[min(self._bans, key=lambda each: self._bans[each].until)]
        now = self._clock()
        ban = self._bans[network] = Ban(str(network), now, now + seconds, count, reason)
        self._index()
        self._trace.banned(ban)
        self.changed()
        return ban

    def _index(self) -> None:
        lengths: dict[int, set[int]] = {}
        now = self._clock()
        self._next_end = float("inf")
        for network, ban in self._bans.items():
            lengths.setdefault(network.version, set()).add(network.length)
            self._next_end = min(self._next_end, ban.until if ban.until > now else ban.until + _REMEMBERED)
        self._lengths = {version: tuple(sorted(each)) for version, each in lengths.items()}
