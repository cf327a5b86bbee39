"""The store of one process. Nothing here waits, so that a listener may ask it between accept and refusal.

Each table is bounded: what was used longest ago goes first. A client that makes tables overflow (a flood from a
million networks) makes us forget, never grow. What lives longer has a table of its own: failed logins, which strangers
can make, push out no logins that stood.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from tlsgate.state.store import Place

_RATES = 65_536  # of one lifetime
_RECORDS = 131_072
_SWEPT = 2  # old entries looked at for each new one: a table that was large for a while shrinks again

_Value = TypeVar("_Value")


class Memory:
    """A Store whose calls also come without await, under names of their own. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._rates: _Aging[deque[float]] = _Aging(_RATES)
        self._records: _Aging[bytes] = _Aging(_RECORDS)

    # -- places -------------------------------------------------------------------------------------

    def enter_now(self, places: Iterable[Place]) -> Place | None:
        """As ``enter``."""
        counts, places = self._counts, tuple(places)
        for place in places:
            if counts.get(place.key, 0) >= place.limit:
                return place
        for key, _ in places:
            counts[key] = counts.get(key, 0) + 1
        return None

    async def enter(self, places: Iterable[Place]) -> Place | None:
        return self.enter_now(places)

    def leave(self, keys: Iterable[str]) -> None:
        counts = self._counts
        for key in keys:
            count = counts[key] - 1
            if count:
                counts[key] = count
            else:
                del counts[key]

    def used(self, key: str) -> int:
        """How many places are taken at ``key``."""
        return self._counts.get(key, 0)

    @property
    def empty(self) -> bool:
        """Whether no place is taken."""
        return not self._counts

    # -- rates --------------------------------------------------------------------------------------

    def spend_now(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
        """As ``spend``."""
        now = self._clock()
        times = self._rates.get(key, now)
        if times is None:
            times = deque()
        self._rates.put(key, times, seconds, now)
        since = now - seconds
        while times and times[0] <= since:
            times.popleft()
        if len(times) + amount > count:
            return False
        times.extend([now] * amount)
        return True

    async def spend(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
        return self.spend_now(key, count, seconds, amount)

    # -- records ------------------------------------------------------------------------------------

    def read_now(self, key: str) -> bytes | None:
        """As ``read``."""
        return self._records.get(key, self._clock())

    async def read(self, key: str) -> bytes | None:
        return self.read_now(key)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        now = self._clock()
        if self._records.get(key, now) != old:
            return False
        if new is None:
            self._records.drop(key)
        else:
            self._records.put(key, new, seconds, now)
        return True


class _Aging(Generic[_Value]):
    """Values that end. One table a lifetime, at most ``most`` in each: there the oldest is the first to end."""

    __slots__ = ("_most", "_tables")

    def __init__(self, most: int) -> None:
        self._most = most
        self._tables: dict[float, OrderedDict[str, tuple[_Value, float]]] = {}

    def get(self, key: str, now: float) -> _Value | None:
        for table in self._tables.values():
            if (entry := table.get(key)) is not None:
                return entry[0] if entry[1] > now else None
        return None

    def put(self, key: str, value: _Value, seconds: float, now: float) -> None:
        """It ends ``seconds`` from ``now``."""
        table = self._tables.get(seconds)
        if table is None or table.pop(key, None) is None:
            if not self.drop(key):
                self._sweep(now)
            table = self._tables.setdefault(seconds, OrderedDict())
        table[key] = (value, now + seconds)

    def drop(self, key: str) -> bool:
        """Whether it was there."""
        return any(table.pop(key, None) is not None for table in self._tables.values())

    def _sweep(self, now: float) -> None:
        for seconds, table in tuple(self._tables.items()):
            for _ in range(_SWEPT):
                if not table:
                    del self._tables[seconds]
                    break
                key, (_, until) = next(iter(table.items()))
                if until > now and len(table) < self._most:
                    break
                del table[key]
