"""The parent's side of its workers: who gets a connection, who is given up, and what is left of a failed start.

The workers here are scripts at the other end of their channels; each has a real process to be killed.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.test_gateway import Log
from tests.workers.test_answers import CLIENT, Told, settings_with
from tlsgate import config
from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.admission.rules import AddressRules
from tlsgate.arrival import Arrival
from tlsgate.ops.fleet_trace import FleetTrace
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.session_view import Wanted
from tlsgate.prepared import Prepared
from tlsgate.workers.channel import Channel
from tlsgate.workers.counts import Counts, dump_metrics
from tlsgate.workers.fleet import Fleet
from tlsgate.workers.messages import (
    Ask,
    Connection,
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
from tlsgate.workers.process import CannotStart
from tlsgate.workers.spawner import Spawner, SpawnFault


@dataclass(eq=False)
class Script:
    """A worker. ``answers``: whether it gives signs of life. ``orders``: what it answers to them, if anything."""

    process: subprocess.Popen[bytes]
    channel: Channel
    new: bool
    answers: bool = True
    connections: list[int] = field(default_factory=list)
    retired: list[Retire] = field(default_factory=list)
    orders: dict[str, Any] = field(default_factory=dict)

    async def play(self, ready: bool) -> None:
        if ready:
            self.say(Ready())
        while (packet := await self.channel.receive())[0]:
            match msgspec.msgpack.decode(packet[0], type=ToWorker):
                case Connection(handle):
                    assert packet[1] is not None
                    packet[1].close()
                    self.connections.append(handle)
                case Report() if self.answers:
                    self.say(Counted(dump_metrics(Metrics(Log()))))
                case Order(number, what) if what in self.orders:
                    self.say(Done(number, self.orders[what]))
                case Retire() as retire:
                    self.retired.append(retire)
                    if not self.connections:
                        self.end()
        self.end()

    def say(self, message: ToParent) -> None:
        self.channel.send(msgspec.msgpack.encode(message))

    def leave(self, handle: int) -> None:
        self.connections.remove(handle)
        self.say(Left(handle))

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()

    @property
    def killed(self) -> bool:
        return self.process.poll() is not None


class Scripts(Spawner):
    """Gives a script for each worker. ``fault``: what it says instead. ``ready``: whether they come up."""

    def __init__(self) -> None:
        self.gone = False
        self.fault = ""
        self.ready = True
        self.adopted = 0
        self.all: list[Script] = []

    def reread(self) -> Prepared:
        raise NotImplementedError

    def fork(self, end: socket.socket, *, new: bool) -> int:
        with end:
            if self.fault:
                raise SpawnFault(self.fault)
            process = subprocess.Popen(["sleep", "60"])
            self.all.append(Script(process, Channel(end.dup()), new))
        return process.pid

    def adopt(self) -> None:
        self.adopted += 1

    def close(self) -> None:
        self.gone = True


@dataclass
class House:
    fleet: Fleet
    scripts: Scripts
    gatehouse: Gatehouse
    log: Log
    clock: MockClock
    outside: list[socket.socket] = field(default_factory=list)

    @property
    def living(self) -> list[Script]:
        return [each for each in self.scripts.all if not each.killed]

    def connect(self) -> bool:
        """A client comes in and is handed over."""
        entry = self.gatehouse.door.enter(CLIENT)
        assert isinstance(entry, Entry)
        ours, theirs = socket.socketpair()
        self.outside.append(theirs)
        if begun := self.fleet.begin("imaps", Arrival(ours, "192.0.2.7", 4000), entry):
            return begun
        ours.close()
        return False

    async def pass_time(self, seconds: float) -> None:
        """In steps that leave workers the time to answer."""
        for _ in range(round(seconds / 0.5)):
            self.clock.jump(0.5)
            await pause()


async def pause() -> None:
    """Let everything that can go on here and in threads do so."""
    for _ in range(20):
        await trio.lowlevel.checkpoint()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def house(clock: MockClock, count: int = 2, **limits: int) -> AsyncIterator[House]:
    settings = settings_with(config.Limits(**limits), config.Bans())  # type: ignore[arg-type]
    gatehouse, scripts, log = Gatehouse(settings, AddressRules(), Told()), Scripts(), Log()
    metrics = Metrics(log)
    fleet = Fleet(scripts, count, gatehouse, Counts(metrics), FleetTrace(log), lambda: None)
    own = House(fleet, scripts, gatehouse, log, clock)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_play_all, scripts)
            await nursery.start(fleet.run)
            yield own
            nursery.cancel_scope.cancel()
    finally:
        for each in scripts.all:
            each.end()
        for outside in own.outside:
            outside.close()
        log.close()


async def _play_all(scripts: Scripts) -> None:
    played = 0
    async with trio.open_nursery() as nursery:
        while True:
            for each in scripts.all[played:]:
                nursery.start_soon(each.play, scripts.ready)
                played += 1
            await trio.lowlevel.checkpoint()


# -- who gets a connection ------------------------------------------------------------------------------------


async def test_the_worker_with_the_fewest_gets_the_next(mock_clock: MockClock) -> None:
    async with house(mock_clock, 3) as own:
        for _ in range(9):
            assert own.connect()
        one, two, three = own.living
        await until(lambda: [len(each.connections) for each in own.living] == [3, 3, 3])
        two.leave(two.connections[0])
        two.leave(two.connections[0])
        await until(lambda: own.gatehouse.door.used == 7)
        assert own.connect()
        assert own.connect()
        await until(lambda: len(two.connections) == 3)
        assert len(one.connections) == len(three.connections) == 3


async def test_a_worker_that_hangs_gets_none_though_it_has_the_fewest(mock_clock: MockClock) -> None:
    """It would get all of them, and none would be served."""
    async with house(mock_clock) as own:
        hangs, serves = own.living
        hangs.answers = False
        await own.pass_time(6)
        for _ in range(10):
            assert own.connect()
        await until(lambda: len(serves.connections) == 10)
        assert hangs.connections == []
        hangs.answers = True
        hangs.say(Counted(dump_metrics(Metrics(own.log))))
        await until(lambda: own.connect() and bool(hangs.connections))


async def test_when_all_are_late_they_still_get_connections(mock_clock: MockClock) -> None:
    """A host under load is no reason to turn everybody away."""
    async with house(mock_clock) as own:
        for each in own.living:
            each.answers = False
        await own.pass_time(6)
        assert own.connect()


async def test_a_worker_that_hangs_for_long_is_killed_and_replaced(mock_clock: MockClock) -> None:
    async with house(mock_clock) as own:
        hangs, serves = own.living
        own.connect()
        own.connect()
        await until(lambda: bool(hangs.connections))
        hangs.answers = False
        await own.pass_time(40)
        await until(lambda: hangs.killed)
        await until(lambda: len(own.living) == 2)
        assert not serves.killed
        assert own.gatehouse.door.used == 1
        assert own.log.all("worker_ended") == [
            {"level": "error", "pid": hangs.process.pid, "sessions": 1, "reason": "it hangs"}
        ]


# -- who is given up ------------------------------------------------------------------------------------------


NONSENSE: dict[str, bytes | ToParent] = {
    "octets": b"\x00not msgpack",
    "unknown message": msgspec.msgpack.encode(["x"]),
    "unknown question": Ask(1, "shutdown", ()),
    "the door's places": Ask(1, "enter", ([["connections", 1 << 30]],)),
    "no limit": Ask(1, "enter", ([["user ann", "many"]],)),
    "too much spent": Ask(1, "spend", ("messages ann", 1 << 40, 1.0, 1 << 40)),
    "large record": Ask(1, "swap", ("record", None, bytes(1 << 17), 1.0)),
    "no number": Ask(1, "handshake", ("a moment",)),
    "no keys": Tell("leave", (7,)),
    "unknown news": Tell("shutdown", ()),
    "no counts": Counted(b"\xc1"),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
async def test_a_worker_that_talks_nonsense_is_killed_and_replaced(
    mock_clock: MockClock, nonsense: bytes | ToParent
) -> None:
    """It may be in somebody else's hands."""
    async with house(mock_clock) as own:
        talks, serves = own.living
        own.connect()
        own.connect()
        if isinstance(nonsense, bytes):
            talks.channel.send(nonsense)
        else:
            talks.say(nonsense)
        await until(lambda: talks.killed)
        assert str(own.log.all("worker_ended")[0]["reason"]).startswith("talks nonsense: ")
        assert own.gatehouse.door.used == 1
        await own.pass_time(1)
        await until(lambda: len(own.living) == 2)
        assert not serves.killed


async def test_a_worker_that_asks_without_end_is_killed(mock_clock: MockClock) -> None:
    """Each question that waits is a task of the parent's."""
    async with house(mock_clock, handshakes=1) as own:
        talks, _ = own.living
        for number in range(2000):
            talks.say(Ask(number, "handshake", (60.0,)))
        await until(lambda: talks.killed)
        assert own.gatehouse.handshakes.used == 0


async def test_places_without_end_are_given_to_no_worker(mock_clock: MockClock) -> None:
    async with house(mock_clock) as own:
        talks, _ = own.living
        for number in range(2000):
            talks.say(Ask(number, "enter", ([[f"user {number}", 1]],)))
        await until(lambda: talks.killed)
        assert own.gatehouse.here.empty


async def test_a_worker_that_closes_its_channel_and_lives_is_killed(mock_clock: MockClock) -> None:
    """Nobody counts what it serves."""
    async with house(mock_clock) as own:
        talks, _ = own.living
        talks.channel._socket.shutdown(socket.SHUT_RDWR)
        await until(lambda: own.log.all("worker_ended") != [])
        assert talks.process.wait(10) < 0


# -- starts that fail -----------------------------------------------------------------------------------------


async def test_no_worker_that_comes_up_is_a_start_that_fails(mock_clock: MockClock) -> None:
    scripts, log = Scripts(), Log()
    scripts.fault = "Resource temporarily unavailable"
    gatehouse = Gatehouse(settings_with(config.Limits(), config.Bans()), AddressRules(), Told())
    fleet = Fleet(scripts, 2, gatehouse, Counts(Metrics(log)), FleetTrace(log), lambda: None)
    async with trio.open_nursery() as nursery:
        with pytest.raises(SpawnFault, match="Resource temporarily unavailable"):
            await nursery.start(fleet.run)
    log.close()


async def test_a_renewal_that_fails_leaves_those_of_before_and_no_others(mock_clock: MockClock) -> None:
    async with house(mock_clock) as own:
        before = own.living
        own.scripts.ready = False
        faults: list[SpawnFault] = []

        async def renew() -> None:
            try:
                await own.fleet.renew()
            except SpawnFault as fault:
                faults.append(fault)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(renew)
            await until(lambda: len(own.living) == 4)
            assert all(each.new for each in own.living)
            assert own.connect()  # meanwhile those of before serve
            await own.pass_time(11)
        assert str(faults[0]) == "no worker came up; the log above says why"
        await until(lambda: own.living == before)
        await own.pass_time(5)
        assert own.living == before
        assert own.scripts.adopted == 1  # at the start
        assert not own.log.all("worker_ended")
        assert sum(len(each.connections) for each in before) == 1


async def test_new_workers_get_nothing_before_the_old_ones_retire(mock_clock: MockClock) -> None:
    """Connections of listeners that the new config doesn't have would meet workers that don't know them."""
    async with house(mock_clock) as own:
        old = own.living
        await own.fleet.renew()
        new = own.living[2:]
        for _ in range(4):
            assert own.connect()
        await until(lambda: sum(len(each.connections) for each in old) == 4)
        own.fleet.retire_old(("pop3s",), 7.0)
        for _ in range(4):
            assert own.connect()
        await until(lambda: sum(len(each.connections) for each in new) == 4)
        await until(lambda: [each.retired for each in old] == [[Retire(("pop3s",), 7.0)]] * 2)
        await own.pass_time(3)
        assert own.living == [*old, *new]
        assert own.scripts.adopted == 2


async def test_one_that_dies_during_a_renewal_is_replaced_once(mock_clock: MockClock) -> None:
    async with house(mock_clock) as own:
        own.living[0].end()
        await until(lambda: len(own.log.all("worker_ended")) == 1)
        await own.fleet.renew()
        own.fleet.retire_old((), 0.0)
        await own.pass_time(3)
        await until(lambda: len(own.living) == 2)
        assert all(each.new for each in own.living)


async def test_a_worker_that_dies_at_once_again_and_again_is_started_once_a_second(mock_clock: MockClock) -> None:
    async with house(mock_clock, 1) as own:
        for started in range(1, 6):
            own.living[0].end()
            await until(lambda: len(own.log.all("worker_ended")) == started)  # noqa: B023
            await own.pass_time(0.5)
            assert len(own.scripts.all) == started
            await own.pass_time(0.5)
            await until(lambda: len(own.scripts.all) > started and bool(own.living))  # noqa: B023


async def test_a_fork_that_fails_is_tried_again(mock_clock: MockClock) -> None:
    """The host is short of memory for a moment."""
    async with house(mock_clock) as own:
        own.scripts.fault = "Cannot allocate memory"
        own.living[0].end()
        await until(lambda: bool(own.log.all("worker_ended")))
        await own.pass_time(3)
        await until(lambda: bool(own.log.all("worker_not_replaced")))
        assert own.log.all("worker_not_replaced")[0] == {
            "level": "error",
            "left": 1,
            "reason": "Cannot allocate memory",
        }
        assert own.connect()
        own.scripts.fault = ""
        await own.pass_time(3)
        await until(lambda: len(own.living) == 2)


async def test_without_a_spawner_the_last_worker_ends_it(mock_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(CannotStart, match="no worker is left"), flatten_subgroups=True):
        async with house(mock_clock) as own:
            own.scripts.gone, own.scripts.fault = True, "the spawner is gone"
            for left in (1, 0):
                own.living[0].end()
                await own.pass_time(2)
                if left:
                    await until(lambda: bool(own.log.all("worker_not_replaced")))
                    assert own.connect()
            await trio.sleep_forever()


async def test_nothing_is_started_once_it_stops(mock_clock: MockClock) -> None:
    async with house(mock_clock) as own:
        dies, stays = own.living
        own.connect()
        own.connect()
        dies.end()
        await until(lambda: bool(own.log.all("worker_ended")))
        own.fleet.retire_all()
        assert not own.connect()
        await own.pass_time(3)
        assert own.living == [stays]
        assert len(own.scripts.all) == 2


# -- orders ----------------------------------------------------------------------------------------------


async def test_workers_that_answer_nothing_or_nonsense_are_counted_and_hold_nobody_up(mock_clock: MockClock) -> None:
    """One that hangs must not keep an admin from the sessions of the others."""
    async with house(mock_clock, 3) as own:
        own.scripts.all[0].orders = {"kick": 4}
        own.scripts.all[1].orders = {"kick": "four"}
        found: list[tuple[list[int], int]] = []

        async def ask() -> None:
            found.append(await own.fleet.order("kick", Wanted(user="ann"), int, 2.0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await own.pass_time(2.5)
        assert found == [([4], 2)]


async def test_workers_are_shown_as_they_are(mock_clock: MockClock) -> None:
    async with house(mock_clock, 2) as own:
        assert own.connect()
        shown = own.fleet.views()
        assert {each.pid for each in shown} == {each.process.pid for each in own.living}
        assert sorted(each.sessions for each in shown) == [0, 1]
        assert {each.phase for each in shown} == {"serving"}
        own.fleet.retire_all()
        assert {each.phase for each in own.fleet.views()} <= {"ending"}
