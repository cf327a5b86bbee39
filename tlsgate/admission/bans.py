"""The networks that are banned now, and for how long: each ban of the same network is twice as long as the last."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Protocol

import msgspec

from tlsgate.admission.network import BITS, ClientAddress, Network, parse_network

_LONGEST = 86_400.0  # to a day, unless the config's own first ban is longer
_REMEMBERED = 86_400.0  # after its end a ban still counts as the last one
_MOST = 100_000
_SWEPT_AT_ONCE = 1_000
_STALE = 1_000  # entries of bans that were replaced, beyond as many as there are bans
# Encoding holds the interpreter: 60,000 bans at once would hold the trio loop as long as if it did it itself.
_ENCODED_AT_ONCE = 500
_REST = 0.0002


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


class _End(msgspec.Struct, frozen=True, order=True, gc=False):
    """When a ban ends. ``number`` orders those that end together."""

    until: float
    number: int
    network: Network
    ban: Ban


class Bans:
    """Bans by network. Those that have ended are remembered for a day, since the next one is longer.

    ``clock``: seconds of the epoch. ``changed`` is called after each change, but for what ``load`` brings; before that,
    ``decided`` with a ban that was made here, or lifted here (True) while it was in force.
    """

    def __init__(self, trace: BanTrace, clock: Callable[[], float] = time.time) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.decided: Callable[[Ban, bool], None] = lambda _ban, _lifted: None
        self._trace = trace
        self._clock = clock
        self._bans: dict[Network, Ban] = {}
        self._counts: Counter[tuple[int, int]] = Counter()  # by version and length
        self._lengths: dict[int, tuple[int, ...]] = {}
        # Heaps. Each ban is in one of them; an entry whose ban was replaced or lifted is passed over.
        self._ends: list[_End] = []
        self._ended: list[_End] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """How many are in force. Safe in another thread."""
        return sum(1 for _ in self.active())

    def active(self) -> Iterator[Ban]:
        """Those in force."""
        now = self._clock()
        return (ban for ban in self.snapshot() if ban.until > now)

    def snapshot(self) -> tuple[Ban, ...]:
        """All of them, as they are now, also those that are only remembered."""
        return tuple(self._bans.values())

    def find(self, client: ClientAddress) -> Ban | None:
        """The ban in force that holds a client, the widest first; or the IPv4 address within a client's."""
        found = self._find(client)
        if found is None and (inner := client.embedded) is not None:
            return self._find(inner)
        return found

    def punish(self, network: Network, seconds: float, reason: str) -> Ban:
        """Ban for ``seconds``, twice as long for each ban that is remembered, to a day."""
        last = self._bans.get(network)
        count = 1 if last is None or last.until + _REMEMBERED <= self._clock() else last.count + 1
        longest = max(_LONGEST, seconds)
        return self._decide(network, min(seconds * 2.0 ** min(count - 1, 64), longest), count, reason)

    def add(self, network: Network, seconds: float, reason: str) -> Ban:
        """Ban for ``seconds``, as an administrator says."""
        last = self._bans.get(network)
        return self._decide(network, seconds, last.count if last else 1, reason)

    def lift(self, network: Network, reason: str) -> bool:
        """End and forget a ban; False when there is none in force."""
        ban = self._bans.get(network)
        if ban is None:
            return False
        in_force = self._drop(network, ban, reason)
        if in_force:
            self.decided(ban, True)
        self.changed()
        return in_force

    def put(self, network: Network, ban: Ban, by: str | None) -> None:
        """Take over what others have decided. ``by``: who, for the log; None tells nothing."""
        if self._bans.get(network) == ban:
            return
        self._keep(network, ban)
        if by is not None and ban.until > self._clock():
            self._trace.banned(msgspec.structs.replace(ban, reason=f"{ban.reason} (by {by})"))
        self.changed()

    def forget(self, network: Network, reason: str) -> None:
        """Forget a ban that others have lifted."""
        ban = self._bans.get(network)
        if ban is not None:
            self._drop(network, ban, reason)
            self.changed()

    def sweep(self) -> None:
        """Tell of bans that have ended since the last call, and forget old ones: some at a time, the next call more."""
        now = self._clock()
        for _ in range(_SWEPT_AT_ONCE):
            if not self._ends or self._ends[0].until > now:
                break
            end = heapq.heappop(self._ends)
            if self._holds(end):
                heapq.heappush(self._ended, end)
                self._trace.unbanned(end.ban.network, "time")
        for _ in range(_SWEPT_AT_ONCE):
            if not self._ended or self._ended[0].until + _REMEMBERED > now:
                break
            end = heapq.heappop(self._ended)
            if self._holds(end):
                self._forget(end.network)

    def load(self, encoded: bytes) -> None:
        """Take over what ``encode`` gave, here or elsewhere; what was here is gone. Raises ValueError.

        Takes long: not while there is somebody to serve.
        """
        try:
            bans = msgspec.json.decode(encoded, type=list[Ban])
        except RecursionError:
            raise ValueError("nested too deeply") from None
        loaded = {parse_network(ban.network)[0]: ban for ban in bans[:_MOST]}
        for network in tuple(self._bans):
            self._forget(network)
        for network, ban in loaded.items():
            self._keep(network, ban)

    def _find(self, client: ClientAddress) -> Ban | None:
        version, value = client
        for length in self._lengths.get(version, ()):
            shift = BITS[version] - length
            ban = self._bans.get(Network(version, value >> shift << shift, length))
            if ban is not None and ban.until > self._clock():
                return ban
        return None

    def _decide(self, network: Network, seconds: float, count: int, reason: str) -> Ban:
        now = self._clock()
        ban = Ban(str(network), now, now + seconds, count, reason)
        self._keep(network, ban)
        self._trace.banned(ban)
        self.decided(ban, False)
        self.changed()
        return ban

    def _drop(self, network: Network, ban: Ban, reason: str) -> bool:
        """Forget, and tell of it when it was in force; whether it was."""
        self._forget(network)
        in_force = ban.until > self._clock()
        if in_force:
            self._trace.unbanned(ban.network, reason)
        return in_force

    def _keep(self, network: Network, ban: Ban) -> None:
        if network not in self._bans:
            while len(self._bans) >= _MOST:  # those go that end first
                end = heapq.heappop(self._ended or self._ends)
                if self._holds(end):
                    self._forget(end.network)
            self._count(network, 1)
        self._bans[network] = ban
        # One that has ended by now is no news.
        heap = self._ends if ban.until > self._clock() else self._ended
        heapq.heappush(heap, _End(ban.until, next(self._numbers), network, ban))
        if len(self._ends) + len(self._ended) > 2 * len(self._bans) + _STALE:
            for heap in (self._ends, self._ended):
                heap[:] = filter(self._holds, heap)
                heapq.heapify(heap)

    def _holds(self, end: _End) -> bool:
        return self._bans.get(end.network) is end.ban

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


def encode(bans: Sequence[Ban]) -> bytes:
    """For ``load``. Many take long: for a thread, which leaves the interpreter to others again and again."""
    pieces = []
    for start in range(0, len(bans), _ENCODED_AT_ONCE):
        if start:
            time.sleep(_REST)
        pieces.append(msgspec.json.encode(bans[start : start + _ENCODED_AT_ONCE])[1:-1])
    return b"[" + b",".join(pieces) + b"]"
