"""Waiting for sockets: one epoll set and one timer for all sessions that log in.

trio's own waits keep a record for each socket and ask the kernel twice; a cancel scope for each phase of each login
would cost more than the dialogue does. Here a wait is one entry of a dict and one system call, and a deadline one
entry of another. At its deadline a wait raises Expired, at most a tick late. The socket stays open: last words can
still be said.
"""

from __future__ import annotations

import math
import select

import outcome
import trio

from tlsgate.tls.lost import Expired

READABLE, WRITABLE = select.EPOLLIN | select.EPOLLONESHOT, select.EPOLLOUT | select.EPOLLONESHOT
_EVENTS = 1024
_TICK = 0.1
_waits: trio.lowlevel.RunVar[Waits] = trio.lowlevel.RunVar("waits")


class Waits:
    """Waits and their deadlines by descriptor. Who closes a descriptor calls ``forget``: its number may come back."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._known: set[int] = set()
        self._parked: dict[int, trio.lowlevel.Task] = {}
        self._due: dict[int, float] = {}
        self._some = trio.Event()
        self._next = math.inf
        self._nap = trio.CancelScope()

    async def wait(self, fd: int, event: int) -> None:
        """Wait until ``fd`` is READABLE or WRITABLE, or broken. Raises Expired, or OSError for no socket at all."""
        if fd in self._parked:
            raise trio.BusyResourceError("another task waits for this socket")
        try:
            (self._epoll.modify if fd in self._known else self._epoll.register)(fd, event)
        except FileNotFoundError:  # closed by somebody else, and the number is another's now
            self._epoll.register(fd, event)
        except FileExistsError:
            self._epoll.modify(fd, event)
        self._known.add(fd)
        self._parked[fd] = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._parked[fd]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def expire(self, fd: int, when: float) -> None:
        """Waits on ``fd`` end at ``when``, a time of trio's clock (infinity: never); and so do those begun later."""
        if when == math.inf:
            self._due.pop(fd, None)
            return
        self._due[fd] = when
        if when < self._next:
            self._look_at(when)

    def forget(self, fd: int) -> None:
        """``fd`` is about to be closed."""
        self._due.pop(fd, None)
        self._known.discard(fd)

    async def wake(self) -> None:
        """Wake those whose sockets are ready, for ever."""
        poll, parked, reschedule = self._epoll.poll, self._parked, trio.lowlevel.reschedule
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in poll(0, _EVENTS):
                    if (task := parked.pop(fd, None)) is not None:
                        reschedule(task)
        finally:
            self._epoll.close()

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
            for fd in [fd for fd, when in self._due.items() if when <= now and fd in self._parked]:
                trio.lowlevel.reschedule(self._parked.pop(fd), outcome.Error(Expired()))

    def _look_at(self, when: float) -> None:
        # Never sooner than in a tick: neither many deadlines nor one that nobody waits on may keep us busy.
        self._next = max(when, trio.current_time() + _TICK)
        self._nap.deadline = self._next
        self._some.set()


def waits() -> Waits:
    """The one of this run of trio."""
    try:
        return _waits.get()
    except LookupError:
        made = Waits()
        _waits.set(made)
        trio.lowlevel.spawn_system_task(made.wake)
        trio.lowlevel.spawn_system_task(made.watch)
        return made
