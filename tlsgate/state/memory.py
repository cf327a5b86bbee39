"""The store of one process. Nothing here waits, so that a listener may ask it between accept and refusal.

Each table is bounded: what was used longest ago goes first. A client that makes tables overflow (a flood from a
million networks) makes us forget, never grow.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from tlsgate.state.store import Place

_RATES = 65_536
_RECORDS = 131_072
_SWEPT = 2  # old entries looked at for each new one: a table that was large for a while shrinks again


class Memory:
    """A Store whose calls also come without await, under names of their own. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._rates: OrderedDict[str, _Spent] = OrderedDict()
        self._records: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

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
        now, rates = self._clock(), self._rates
        spent = rates.get(key)
        if spent is None:
            self._sweep_rates(now)
            spent = rates[key] = _Spent()
        else:
            rates.move_to_end(key)
        return spent.spend(now, count, seconds, amount)

    async def spend(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
        return self.spend_now(key, count, seconds, amount)

    def _sweep_rates(self, now: float) -> None:
        rates = self._rates
        for _ in range(_SWEPT):
            if not rates:
                return
            key, spent = next(iter(rates.items()))
            if spent.until > now and len(rates) < _RATES:
                return
            del rates[key]

    # -- records ------------------------------------------------------------------------------------

    def read_now(self, key: str) -> bytes | None:
        """As ``read``."""
        record = self._records.get(key)
        return None if record is None or record[1] <= self._clock() else record[0]

    async def read(self, key: str) -> bytes | None:
        return self.read_now(key)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        if self.read_now(key) != old:
            return False
        records = self._records
        records.pop(key, None)
        if new is not None:
            now = self._clock()
            self._sweep_records(now)
            records[key] = (new, now + seconds)
        return True

    def _sweep_records(self, now: float) -> None:
        records = self._records
        for _ in range(_SWEPT):
            if not records:
                return
            key, (_, until) = next(iter(records.items()))
            if until > now and len(records) < _RECORDS:
                return
            del records[key]


class _Spent:
    """When each of the last few was spent. ``until``: when the newest no longer counts."""

    __slots__ = ("times", "until")

    def __init__(self) -> None:
        self.times: deque[float] = deque()
        self.until = 0.0

    def spend(self, now: float, count: int, seconds: float, amount: int) -> bool:
        times, since = self.times, now - seconds
        while times and times[0] <= since:
            times.popleft()
        if len(times) + amount > count:
            return False
        times.extend([now] * amount)
        self.until = now + seconds
        return True
