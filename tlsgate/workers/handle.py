"""The parent's handle on one worker."""

from __future__ import annotations

import itertools
import os
import signal
import socket
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import trio

from tlsgate.ops.gateway_view import WorkerView
from tlsgate.workers.answers import Answers
from tlsgate.workers.channel import Channel
from tlsgate.workers.counts import Counts
from tlsgate.workers.messages import (
    UNANSWERED,
    Answer,
    Ask,
    Counted,
    Done,
    Left,
    Order,
    Ready,
    Report,
    Retire,
    Tell,
    ToParent,
    ToWorker,
)

_HANGS = 15  # after so many ticks without a sign of life
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ToParent).decode
_T = TypeVar("_T")


class _Ordered:
    """An order that is under way."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.value: Any = None


class WorkerHandle:
    """``generation``: of its config. ``retired``: it gets no more connections. ``reason``: why it ended."""

    def __init__(self, pid: int, generation: int, channel: Channel, answers: Answers) -> None:
        self.pid = pid
        self.generation = generation
        self.answers = answers
        self.ready = trio.Event()
        self.reported = trio.Event()
        self.gone = trio.Event()
        self.retired = False
        self.reason = "it died"
        self._channel = channel
        self._asked = 0
        self._silent = 0
        self._orders: dict[int, _Ordered] = {}
        self._numbers = itertools.count()

    @property
    def usable(self) -> bool:
        """Whether it takes connections."""
        return self.ready.is_set() and not self.retired and not self._channel.broken

    @property
    def late(self) -> bool:
        """Whether others should have its connections, as long as there are others."""
        return self._silent > 0 or self._channel.behind

    def view(self, generation: int) -> WorkerView:
        """It as the admin API shows it; ``generation`` is the one that serves."""
        serves = self.usable and self.generation == generation
        phase = "serving" if serves else "ending" if self.retired else "starting"
        return WorkerView(self.pid, phase, len(self.answers.entries), self.late)

    def send(self, message: ToWorker, connected: socket.socket | None = None) -> None:
        """Send a message; ``connected`` goes with it."""
        self._channel.send(_encode(message), connected)

    def retire(self, listeners: tuple[str, ...] | None, seconds: float) -> None:
        """Let it end with its sessions, and those of ``listeners`` (None: all) in ``seconds``."""
        self.retired = True
        self.send(Retire(listeners, seconds))

    def ask(self) -> None:
        """Have it say what it has counted."""
        self._asked += 1
        self.reported = trio.Event()
        self.send(Report())

    async def order(self, what: str, argument: object, kind: type[_T]) -> _T | None:
        """What it answers to an order, None where that is nothing of this kind. One that has ended never does."""
        number, ordered = next(self._numbers), _Ordered()
        self._orders[number] = ordered
        try:
            self.send(Order(number, what, argument))
            await ordered.done.wait()
        finally:
            del self._orders[number]
        try:
            return msgspec.convert(ordered.value, kind)
        except msgspec.ValidationError:
            return None

    def tick(self) -> bool:
        """Ask for a sign of life, unless one is due; False when it hangs."""
        if self._asked:
            self._silent += 1
        else:
            self.ask()
        return self._silent < _HANGS

    def kill(self, reason: str) -> None:
        """End it now; nothing that it says counts any more."""
        self.reason = reason
        with suppress(ProcessLookupError, PermissionError):  # it may not have become our user yet
            os.kill(self.pid, signal.SIGKILL)
        self._channel.close()

    async def hear(self, counts: Counts) -> None:
        """Do what it asks until it is gone. Raises a group of what is wrong with what it says."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.run)
            while not self._channel.broken:
                packet, _ = await self._channel.receive()
                if not packet:
                    break
                self._take(_decode(packet), counts, nursery)
            nursery.cancel_scope.cancel()

    def _take(self, message: ToParent, counts: Counts, nursery: trio.Nursery) -> None:
        match message:
            case Ask():
                nursery.start_soon(self._answer, message)
            case Left(handle):
                self.answers.left(handle)
            case Tell():
                self.answers.hear(message)
            case Counted(dumped):
                counts.note(self, dumped)
                self._reported()
            case Ready():
                self.ready.set()
            case Done(number, value):
                if (ordered := self._orders.get(number)) is not None:
                    ordered.value = value
                    ordered.done.set()

    async def _answer(self, ask: Ask) -> None:
        value = await self.answers.answer(ask)
        if ask.id != UNANSWERED:
            self.send(Answer(ask.id, value))

    def _reported(self) -> None:
        self._silent = 0
        self._asked -= 1
        if self._asked <= 0:
            self._asked = 0
            self.reported.set()
