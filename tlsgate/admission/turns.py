"""Attempts to log in that are being judged, by network: those of one take turns when few failures are left to its ban.

Else a guesser would open all the connections that a network may have, and try a password on each before the first is
found wrong.
"""

from __future__ import annotations

import trio


class Turns:
    """Who is under way, by a key; and a way to wait for one of them to be done."""

    def __init__(self) -> None:
        self._under_way: dict[str, int] = {}
        self._waiting: dict[str, trio.lowlevel.ParkingLot] = {}

    def under_way(self, key: str) -> int:
        """How many are."""
        return self._under_way.get(key, 0)

    def begin(self, key: str) -> None:
        """One more is; ``end`` follows once."""
        self._under_way[key] = self._under_way.get(key, 0) + 1

    def end(self, key: str) -> None:
        """One is done: who has waited longest looks again."""
        count = self._under_way.get(key, 0) - 1
        if count > 0:
            self._under_way[key] = count
        else:
            self._under_way.pop(key, None)
        self.pass_on(key)

    def pass_on(self, key: str) -> None:
        """Whoever has waited longest looks again; for one who was woken and doesn't begin."""
        if (lot := self._waiting.get(key)) is not None:
            lot.unpark()

    async def change(self, key: str) -> None:
        """Wait until one of them is done: each that is wakes the one who has waited longest."""
        lot = self._waiting.setdefault(key, trio.lowlevel.ParkingLot())
        try:
            await lot.park()
        except trio.Cancelled:
            lot.unpark()  # perhaps it was our turn
            raise
        finally:
            if not lot and self._waiting.get(key) is lot:  # by now it may be the next ones'
                del self._waiting[key]
