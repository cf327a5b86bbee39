"""How many TLS handshakes are under way at once ([limits] handshakes): those beyond wait for their turn.

After a restart every client comes back within seconds. To wait is cheaper for them and for us than to be refused and
to come again. Who stalls goes on without a place once others have waited for it: a few hundred who say half of what is
due would else keep out everybody.
"""

from __future__ import annotations

import itertools

import trio

_HELD = 1.0  # seconds that a place is good for while others wait: a handshake's round trips


class Handshakes:
    """Places for handshakes. ``limit`` may change while they are under way."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._numbers = itertools.count(1)
        self._held: dict[int, float] = {}  # since when, the oldest first
        self._promised = 0
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def used(self) -> int:
        """How many places are taken."""
        return len(self._held) + self._promised

    @property
    def limit(self) -> int:
        """How many places there are."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._admit()

    async def enter(self, deadline: float) -> int:
        """Take a place, if need be after those who came before: its number, or 0 when none is free by ``deadline``."""
        if self.used < self._limit and not self._waiting:
            return self._take()
        with trio.CancelScope(deadline=deadline):
            await self._waiting.park()
            self._promised -= 1  # by who has woken us
            return self._take()
        return 0

    def leave(self, place: int) -> None:
        """Give a place back, if it isn't another's by now."""
        if self._held.pop(place, None) is not None:
            self._admit()

    def sweep(self) -> None:
        """Now and then: those who wait get the places of those who stall."""
        late = trio.current_time() - _HELD
        stalled = [place for place, since in self._held.items() if since <= late] if self._waiting else []
        for place in stalled[: len(self._waiting)]:
            del self._held[place]
        self._admit()

    def _take(self) -> int:
        self._held[place := next(self._numbers)] = trio.current_time()
        return place

    def _admit(self) -> None:
        while self._waiting and self.used < self._limit:
            self._promised += 1
            self._waiting.unpark()
