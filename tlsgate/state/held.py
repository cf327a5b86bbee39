"""The places that this replica has taken, and for which of them the shared state must be told how many that are."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable

from tlsgate.state.memory import Memory
from tlsgate.state.store import Place

_ROUND = 200  # every count is said again once in so many times


class Held:
    """Exact whatever becomes of the server. What is told are counts, not changes: to tell one twice does no harm."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._untold: dict[str, None] = {}

    def __len__(self) -> int:
        """How many keys places are taken at."""
        return len(self._keys)

    @property
    def untold(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._untold)

    def used(self, key: str) -> int:
        """How many places are taken at ``key``."""
        return self._memory.used(key)

    def enter(self, places: Iterable[Place]) -> Place | None:
        """As a Store's ``enter``, by our own counts alone."""
        places = tuple(places)
        if (full := self._memory.enter_now(places)) is None:
            self._keys.update((place.key, None) for place in places)
            self.doubt(place.key for place in places)
        return full

    def grant(self, keys: Iterable[str]) -> None:
        """Take places that the server has counted already."""
        keys = tuple(keys)
        self._memory.enter_now(Place(key, sys.maxsize) for key in keys)
        self._keys.update((key, None) for key in keys)

    def leave(self, keys: Iterable[str]) -> None:
        """Give places back."""
        keys = tuple(keys)
        self._memory.leave(keys)
        for key in keys:
            if not self._memory.used(key):
                self._keys.pop(key, None)
        self.doubt(keys)

    def doubt(self, keys: Iterable[str]) -> None:
        """The server may not have the counts that we have."""
        self._untold.update((key, None) for key in keys)

    def doubt_all(self) -> None:
        """The server has none of our counts."""
        self._untold = dict.fromkeys(self._keys)

    def doubt_some(self) -> None:
        """Say a share of the counts again: lest they expire, and should the server have lost some."""
        for _ in range(-(-len(self._keys) // _ROUND)):
            key = next(iter(self._keys))
            self._keys.move_to_end(key)
            self._untold[key] = None

    def tell(self, most: int) -> list[str | int]:
        """Up to ``most`` of what is to be told, as key, count, key, count…; they count as told."""
        keys = [key for key, _ in zip(self._untold, range(most), strict=False)]
        told: list[str | int] = []
        for key in keys:
            del self._untold[key]
            told += key, self._memory.used(key)
        return told
