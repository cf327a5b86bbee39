"""A clock that a test sets, in seconds."""

from __future__ import annotations


class Clock:
    """Called, it gives ``now``."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
