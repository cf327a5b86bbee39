"""What a store of shared state can do, whoever keeps it: this process, this host's parent process or Valkey."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Place(NamedTuple):
    """One of at most ``limit`` places at ``key``, such as "network 192.0.2.0/24"."""

    key: str
    limit: int


STATE_DOWN = Place("shared state", 0)
"""The place that is "full" for everybody while the shared state is away and [state] when_down is "refuse"."""


class Store(Protocol):
    """Every call takes effect at once and as a whole, also among several that call."""

    async def enter(self, places: Iterable[Place]) -> Place | None:
        """Take a place at each key, or none at all: the first key that is full is given then.

        Who got None calls ``leave`` with the same keys once.
        """

    def leave(self, keys: Iterable[str]) -> None:
        """Give places back. Never waits: who leaves can't be kept."""

    async def spend(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
        """Whether ``amount`` more makes no more than ``count`` in the last ``seconds``; if so it is noted."""

    async def read(self, key: str) -> bytes | None:
        """The record at ``key``."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        """Put ``new`` (None: nothing) at ``key`` for ``seconds``, if ``old`` is what is there. Whether it was."""


class StateTrace(Protocol):
    """What is told about the shared state."""

    def state_up(self) -> None:
        """It is used from now on."""

    def state_down(self, reason: str) -> None:
        """It isn't any more, or not yet."""

    def state_fault(self, reason: str) -> None:
        """It failed: with ``state_down``, then for each attempt that fails."""
