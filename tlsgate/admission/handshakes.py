"""How many TLS handshakes are under way at once ([limits] handshakes): those beyond wait for their turn.

After a restart every client comes back within seconds. To wait is cheaper for them and for us than to be refused and
to come again.
"""

from __future__ import annotations

import trio


class Handshakes:
    """Places for handshakes. ``limit`` may change while they are under way."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting = trio.lowlevel.ParkingLot()

    async def enter(self, deadline: float) -> bool:
        """Take a place, if need be after those who came before; False when none is free by ``deadline``."""
        if self.used < self.limit and not self._waiting:
            self.used += 1
            return True
        with trio.CancelScope(deadline=deadline):
            await self._waiting.park()  # who leaves hands the place over
            return True
        return False

    def leave(self) -> None:
        """Give the place back."""
        if self._waiting and self.used <= self.limit:
            self._waiting.unpark()
        else:
            self.used -= 1
