"""How many connections there may be in all ([limits] connections)."""

from __future__ import annotations

from tlsgate.admission.verdict import Verdict


class Capacity:
    """Counts the connections of this process. ``limit`` may change while they live."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def enter(self) -> Verdict:
        """Ask for room; who is ACCEPTED calls ``leave`` once."""
        if self.used >= self.limit:
            return Verdict.OVER_CAPACITY
        self.used += 1
        return Verdict.ACCEPTED

    def leave(self) -> None:
        """An accepted connection has ended."""
        self.used -= 1
