"""The workers of one host, as the parent sees them: it accepts, admits and hands each connection over.

Why one acceptor and not workers that accept side by side (SO_REUSEPORT) with counters in shared memory: the acceptor
counts in one place, without locks, and knows what each worker holds, so caps, rates and bans are exact and a worker
that dies gives all back. A refusal, which is what a flood is made of, never reaches a worker. Measured with
bench/handover.py: to hand a connection over and to hear of its end costs 40 us of CPU in all processes together, one
lock and a fixed table in shared memory 4 us (without what a crash in the middle of a change would need); a login costs
700.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import trio

from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.arrival import Arrival
from tlsgate.ops.gateway_view import WorkerView
from tlsgate.workers.answers import Answers
from tlsgate.workers.channel import Channel, pair
from tlsgate.workers.counts import Counts
from tlsgate.workers.handle import WorkerHandle
from tlsgate.workers.messages import Connection
from tlsgate.workers.process import CannotStart
from tlsgate.workers.spawner import Spawner, SpawnFault

_READY_WITHIN = 10.0
_RESTART_PAUSE = 1.0
_GRACE = 3.0
_REPORT_WITHIN = 0.5
_TICK = 2.0  # how often each worker is asked for a sign of life
_T = TypeVar("_T")


class FleetTrace(Protocol):
    """What is told about workers."""

    def worker_started(self, pid: int) -> None: ...
    def worker_ended(self, pid: int, sessions: int, reason: str) -> None: ...
    def worker_not_replaced(self, left: int, reason: str) -> None: ...


class Fleet:
    """``count`` workers while ``run`` is running. A worker that dies is replaced; what it held is free at once."""

    def __init__(
        self,
        spawner: Spawner,
        count: int,
        gatehouse: Gatehouse,
        counts: Counts,
        trace: FleetTrace,
        on_left: Callable[[], None],
    ) -> None:
        """``on_left`` is called after each connection that has ended."""
        self.count = count
        self._spawner = spawner
        self._gatehouse = gatehouse
        self._counts = counts
        self._trace = trace
        self._on_left = on_left
        self._workers: set[WorkerHandle] = set()
        self._numbers = itertools.count(1)
        self._generation = self._newest = 0
        self._handles = itertools.count(1)
        # A thread of its own: what hangs elsewhere takes all of trio's default ones.
        self._asking = trio.CapacityLimiter(1)
        self._starting = 0
        self._stopping = False
        self._over = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Reports when the first workers are ready; until it is cancelled.

        Raises SpawnFault when none comes up, CannotStart when the last one has ended and there is no spawner.
        """
        fault: Exception | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await self.renew()
            except SpawnFault as none:
                fault = none
            else:
                self.retire_old((), 0.0)
                task_status.started()
                nursery.start_soon(self._watch)
                await self._over.wait()
                fault = CannotStart("server.workers: no worker is left, and no other can be started")
            nursery.cancel_scope.cancel()
        if fault is not None:
            raise fault

    async def renew(self) -> None:
        """Start workers by the config that the spawner has read last; they wait for ``retire_old``.

        Raises SpawnFault with what is wrong: then nothing has changed.
        """
        new: list[WorkerHandle] = []
        generation, done = next(self._numbers), False
        try:
            for _ in range(self.count):
                new.append(await self._start(generation))
            with trio.move_on_after(_READY_WITHIN):
                for worker in new:
                    await worker.ready.wait()
            if not any(worker.usable for worker in new):
                raise SpawnFault("no worker came up; the log above says why")
            await trio.to_thread.run_sync(self._spawner.adopt, limiter=self._asking)
            self._newest, done = generation, True
        finally:
            if not done:
                for worker in new:
                    worker.retired = True
                    worker.kill("not needed")

    def retire_old(self, gone: tuple[str, ...], drain: float) -> None:
        """Those of the last ``renew`` serve from now on. The others end with their sessions; those of listeners
        ``gone`` in ``drain`` seconds."""
        self._generation = self._newest
        for worker in self._workers:
            if worker.generation < self._generation:
                worker.retire(gone, drain)
        self._nursery.start_soon(self._fill_up)

    def retire_all(self) -> None:
        """No connections will come any more: workers end with their sessions."""
        self._stopping = True
        for worker in self._workers:
            worker.retire((), 0.0)

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        """Hand a connection over to the worker with the fewest; False when there is none."""
        usable = [worker for worker in self._workers if worker.usable and worker.generation == self._generation]
        if not usable:
            return False
        worker = min(usable, key=lambda each: (each.late, len(each.answers.entries)))
        handle = next(self._handles)
        worker.answers.enter(handle, entry)
        end = arrival.destination
        destination = None if end is None else (str(end.address), end.port)
        message = Connection(
            handle, listener, arrival.host, arrival.port, entry.standing.value, destination, arrival.waited
        )
        worker.send(message, arrival.socket)
        return True

    async def report(self) -> None:
        """Have every worker say what it has counted, or as many as answer at once."""
        asked = [worker for worker in self._workers if worker.ready.is_set() and not worker.late]
        for worker in asked:
            worker.ask()
        with trio.move_on_after(_REPORT_WITHIN):
            for worker in asked:
                await worker.reported.wait()

    async def order(self, what: str, argument: object, kind: type[_T], within: float) -> tuple[list[_T], int]:
        """What all workers answer to an order ``within`` so many seconds, and how many don't."""
        asked = [worker for worker in self._workers if worker.ready.is_set()]
        answers: list[_T] = []

        async def ask(worker: WorkerHandle) -> None:
            if (answer := await worker.order(what, argument, kind)) is not None:
                answers.append(answer)

        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + within
            for worker in asked:
                nursery.start_soon(ask, worker)
        return answers, len(asked) - len(answers)

    def views(self) -> list[WorkerView]:
        """The workers, the oldest first."""
        return [each.view(self._generation) for each in sorted(self._workers, key=lambda each: each.pid)]

    async def stop(self) -> None:
        """End every session and every worker, and the spawner."""
        self.retire_all()
        workers = list(self._workers)
        with trio.move_on_after(_GRACE):
            for worker in workers:
                worker.retire(None, 0.0)
            for worker in workers:
                await worker.gone.wait()
        for worker in self._workers:
            worker.kill("it didn't end")
        self._spawner.close()

    # -- one worker ---------------------------------------------------------------------------------

    async def _start(self, generation: int) -> WorkerHandle:
        ours, its = pair()
        channel, pid = Channel(ours), 0
        fork = partial(self._spawner.fork, its, new=generation > self._generation)
        try:
            pid = await trio.to_thread.run_sync(fork, limiter=self._asking)
        finally:
            if not pid:
                channel.close()
                its.close()
        worker = WorkerHandle(pid, generation, channel, Answers(self._gatehouse, self._on_left))
        self._workers.add(worker)
        self._trace.worker_started(pid)
        self._nursery.start_soon(self._attend, worker)
        if self._stopping or generation < self._generation:  # while it was started
            worker.retire((), 0.0)
        return worker

    async def _attend(self, worker: WorkerHandle) -> None:
        began = trio.current_time()
        try:
            await worker.hear(self._counts)
        except* Exception as faults:  # noqa: BLE001 - what it says must not end the others
            worker.reason = f"talks nonsense: {type(faults.exceptions[0]).__name__}"
        finally:
            self._ended(worker)
        await trio.sleep_until(began + _RESTART_PAUSE)
        await self._fill_up()

    def _ended(self, worker: WorkerHandle) -> None:
        self._workers.discard(worker)
        sessions = len(worker.answers.entries)
        worker.kill(worker.reason)  # also one that has only closed its channel: nobody counts what it serves
        worker.answers.release()
        self._counts.ended(worker)
        worker.gone.set()
        worker.reported.set()
        worker.ready.set()
        if sessions or not worker.retired:
            self._trace.worker_ended(worker.pid, sessions, worker.reason)

    # -- all of them --------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await trio.sleep(_TICK)
            for worker in list(self._workers):
                if not worker.tick():
                    worker.kill("it hangs")

    @property
    def _living(self) -> int:
        return sum(worker.generation == self._generation and not worker.retired for worker in self._workers)

    async def _fill_up(self) -> None:
        """Start workers until there are enough."""
        while self._generation and not self._stopping and self._living + self._starting < self.count:
            self._starting += 1
            try:
                await self._start(self._generation)
            except SpawnFault as fault:
                self._trace.worker_not_replaced(self._living, str(fault))
                if self._spawner.gone:
                    if not self._living and not self._stopping:
                        self._over.set()
                    return
                await trio.sleep(_RESTART_PAUSE)
            finally:
                self._starting -= 1
