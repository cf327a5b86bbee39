"""How many TLS handshakes are under way at once ([limits] handshakes): those beyond wait for their turn.

After a restart every client comes back within seconds. To wait is cheaper for them and for us than to be refused and
to come again.
"""

from __future__ import annotations

import trio


class Handshakes:
    """Places for handshakes. ``limit`` may change while they are under way."""

    def __init__(self, limit: int) -> None:
        self.used = 0
        self._limit = limit
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def limit(self) -> int:
        """How many places there are."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._admit()

    async def enter(self, deadline: float) -> bool:
        """Take a place, if need be after those who came before; False when none is free by ``deadline``."""
        if self.used < self._limit and not self._waiting:
            self.used += 1
            return True
        with trio.CancelScope(deadline=deadline):
            await self._waiting.park()  # who wakes us has taken the place for us
            return True
        return False

    def leave(self) -> None:
        """Give the place back."""
        self.used -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.used < self._limit:
            self.used += 1
            self._waiting.unpark()
