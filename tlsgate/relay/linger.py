"""Staying with the relay for a moment when nobody else has anything to do: the answer to a command comes soon.

To be woken by trio takes 10 us of CPU, as long as a small relay itself. trio tells (by an Instrument) when it is about
to wait, and so that no task can run. Then we wait in its place, a moment at most, for the relay's sockets and for
whatever trio waits for: the epoll set that it has for that. Its API doesn't say which that is, so without it everything
goes on as before, for a little more.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import trio

# Seconds: until nothing more is likely to come, and until trio looks at its clock again.
_MOMENT, _TURN = 0.01, 0.05
_ARMED = select.EPOLLIN | select.EPOLLONESHOT  # as trio arms what a task waits for


class Linger(trio.abc.Instrument):
    """``relayed``: the relay's epoll set, which a task waits for. ``serve``: relays what is there, and gives whether
    tasks may have something to do now. Set ``due`` when something was relayed.
    """

    def __init__(self, relayed: select.epoll, serve: Callable[[], bool]) -> None:
        """Raises LookupError where trio's set can't be found. In trio's loop."""
        self.due = False
        self._relayed = relayed.fileno()
        self._serve = serve
        self._trios = _trios_epoll()
        self._token = trio.lowlevel.current_trio_token()
        self._both = select.epoll()
        self._both.register(self._relayed, select.EPOLLIN)
        self._both.register(self._trios.fileno(), select.EPOLLIN)
        trio.lowlevel.add_instrument(self)

    def before_io_wait(self, timeout: float) -> None:
        """trio has nothing to do for ``timeout`` seconds but what a socket may bring. Raises nothing."""
        if not self.due:
            return
        self.due = False
        if timeout <= 0:
            return
        try:
            self._trios.modify(self._relayed, 0)  # else trio's set would be ready whenever the relay's is
        except OSError:  # nobody waits for the relay any more
            return
        try:
            self._stay(monotonic() + min(timeout, _TURN))
        finally:
            self._trios.modify(self._relayed, _ARMED)

    def close(self) -> None:
        """Linger no more."""
        with suppress(KeyError):
            trio.lowlevel.remove_instrument(self)
        self._both.close()

    def _stay(self, until: float) -> None:
        poll, relayed = self._both.poll, self._relayed
        while True:
            ready = poll(_MOMENT, 2)
            if len(ready) != 1 or ready[0][0] != relayed:
                return
            if self._serve():
                self._token.run_sync_soon(_nothing, idempotent=True)  # has trio look at its tasks
                return
            if monotonic() >= until:
                return


def _nothing() -> None:
    """Only to be woken."""


def _trios_epoll() -> select.epoll:
    try:
        found = trio._core._run.GLOBAL_RUN_CONTEXT.runner.io_manager._epoll
    except AttributeError:
        raise LookupError("not as this trio is known") from None
    if not isinstance(found, select.epoll):
        raise LookupError("not as this trio is known")
    return found
