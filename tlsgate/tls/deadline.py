"""Deadlines for waits on sockets: one timer for all of them.

A cancel scope for each phase of each login would cost more than the dialogue does. Here a deadline is one entry of a
dict, and whoever waits on a socket whose time is over is woken by ``trio.ClosedResourceError``, at most a tick late.
The socket stays open: last words can still be said.
"""

from __future__ import annotations

import math

import trio

_TICK = 0.1
_deadlines: trio.lowlevel.RunVar[Deadlines] = trio.lowlevel.RunVar("deadlines")


class Deadlines:
    """Times by descriptor. An entry must be gone before its descriptor is closed: the number may come back."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._some = trio.Event()
        self._next = math.inf
        self._nap = trio.CancelScope()

    def set(self, fd: int, when: float) -> None:
        """Waits on ``fd`` end at ``when``, a time of trio's clock; and so do those begun later."""
        self._due[fd] = when
        if when < self._next:
            self._look_at(when)

    def clear(self, fd: int) -> None:
        """Waits on ``fd`` may last."""
        self._due.pop(fd, None)

    async def watch(self) -> None:
        """Wake those whose time is over, for ever."""
        while True:
            if not self._due:
                self._next, self._some = math.inf, trio.Event()
                await self._some.wait()
            with trio.CancelScope() as self._nap:
                self._look_at(min(self._due.values(), default=math.inf))
                await trio.sleep_forever()
            now = trio.current_time()
            for fd in [fd for fd, when in self._due.items() if when <= now]:
                trio.lowlevel.notify_closing(fd)

    def _look_at(self, when: float) -> None:
        # Never sooner than in a tick: neither many deadlines nor one that nobody waits on may keep us busy.
        self._next = max(when, trio.current_time() + _TICK)
        self._nap.deadline = self._next
        self._some.set()


def deadlines() -> Deadlines:
    """The one of this run of trio."""
    try:
        return _deadlines.get()
    except LookupError:
        made = Deadlines()
        _deadlines.set(made)
        trio.lowlevel.spawn_system_task(made.watch)
        return made
