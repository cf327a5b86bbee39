"""A worker's admission, asked over a channel: what is counted, and what is left when the worker dies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.gate import BanRecords
from tlsgate import config
from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.admission.network import parse_client
from tlsgate.admission.rules import AddressRules
from tlsgate.state.store import Place
from tlsgate.workers.answers import Answers
from tlsgate.workers.channel import Channel, pair
from tlsgate.workers.messages import Answer, Ask, Left, Tell, ToParent, ToWorker
from tlsgate.workers.remote import Link, RemoteHandshakes, RemotePenalties, RemoteStore

CLIENT = parse_client("192.0.2.7")
PLACE = Place("user ann", 2)


class Told(BanRecords):
    """What is told of admission as a whole; nothing is said of files here."""

    def ban_file_fault(self, path: str, reason: str) -> None: ...
    def list_reloaded(self, path: Path, prefixes: int, bad_lines: int) -> None: ...
    def list_bad_line(self, path: Path, line: int, reason: str) -> None: ...
    def list_unreadable(self, path: Path, reason: str) -> None: ...
    def state_up(self) -> None: ...
    def state_down(self, reason: str) -> None: ...
    def state_fault(self, reason: str) -> None: ...


@dataclass
class Parent:
    """The parent's side of one worker."""

    gatehouse: Gatehouse
    channel: Channel
    lefts: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers = Answers(self.gatehouse, lambda: self.lefts.append(None))

    async def hear(self, nursery: trio.Nursery) -> None:
        """As the fleet does, until the worker is gone; then everything that it held is free."""
        while packet := (await self.channel.receive())[0]:
            match msgspec.msgpack.decode(packet, type=ToParent):
                case Ask() as ask:
                    nursery.start_soon(self.answer, ask)
                case Tell() as tell:
                    self.answers.hear(tell)
                case Left(handle):
                    self.answers.left(handle)
        self.answers.release()
        self.channel.close()

    async def answer(self, ask: Ask) -> None:
        self.channel.send(msgspec.msgpack.encode(Answer(ask.id, await self.answers.answer(ask))))

    def admit(self, handle: int) -> Entry:
        entry = self.gatehouse.door.enter(CLIENT)
        assert isinstance(entry, Entry)
        self.answers.enter(handle, entry)
        return entry


@dataclass
class Worker:
    """The worker's side."""

    channel: Channel

    def __post_init__(self) -> None:
        self.link = Link(self.channel)
        self.store, self.penalties = RemoteStore(self.link), RemotePenalties(self.link)
        self.handshakes = RemoteHandshakes(self.link)

    async def hear(self) -> None:
        while packet := (await self.channel.receive())[0]:
            message = msgspec.msgpack.decode(packet, type=ToWorker)
            assert isinstance(message, Answer)
            self.link.answer(message)


def sides(nursery: trio.Nursery, *, handshakes: int = 256, failures: int = 10) -> tuple[Parent, Worker]:
    settings = settings_with(config.Limits(handshakes=handshakes), config.Bans(failures=failures))
    ours, its = pair()
    parent, worker = Parent(Gatehouse(settings, AddressRules(), Told()), Channel(ours)), Worker(Channel(its))
    nursery.start_soon(parent.hear, nursery)
    nursery.start_soon(worker.hear)
    return parent, worker


def settings_with(limits: config.Limits, bans: config.Bans) -> config.Config:
    tls = config.Tls(certificate=Path("c"), private_key=Path("k"))
    server = config.Server(hostname="mail.example.org")
    return config.Config(server=server, tls=tls, listeners=(), pools={}, limits=limits, bans=bans)


async def end(worker: Worker) -> None:
    """The worker's end of the channel closes, as at its death."""
    worker.channel.close()
    await wait_all_tasks_blocked()


async def test_a_user_has_as_many_places_as_all_workers_together_may_take(nursery: trio.Nursery) -> None:
    parent, worker = sides(nursery)
    assert [await worker.store.enter((PLACE,)) for _ in range(3)] == [None, None, PLACE]
    worker.store.leave((PLACE.key,))
    assert await worker.store.enter((PLACE,)) is None
    assert parent.gatehouse.here.used(PLACE.key) == 2
    await end(worker)


async def test_a_dead_workers_places_are_free(nursery: trio.Nursery) -> None:
    """Else each crash would cost a user, a network and the host places for ever."""
    parent, worker = sides(nursery, handshakes=2)
    parent.admit(1)
    parent.admit(2)
    await worker.store.enter((PLACE, Place("backend a:1", 5)))
    assert await worker.handshakes.enter(trio.current_time() + 9)
    assert parent.gatehouse.door.used == 2
    await end(worker)
    assert parent.gatehouse.here.empty
    assert parent.gatehouse.handshakes.used == 0
    assert len(parent.lefts) == 2


async def test_what_a_worker_doesnt_hold_it_cant_give_back(nursery: trio.Nursery) -> None:
    """A worker talks to strangers: taken over, it must not make room that others have taken."""
    parent, worker = sides(nursery)
    other = parent.gatehouse.door.enter(CLIENT)
    assert isinstance(other, Entry)
    assert parent.gatehouse.here.enter_now((PLACE,)) is None
    worker.store.leave((PLACE.key, "connections"))
    worker.handshakes.leave(await parent.gatehouse.handshakes.enter(0))
    worker.link.send(Left(7))
    await wait_all_tasks_blocked()
    assert parent.gatehouse.here.used(PLACE.key) == parent.gatehouse.door.used == 1
    assert parent.gatehouse.handshakes.used == 1
    await end(worker)


async def test_a_cancelled_asker_keeps_no_place(nursery: trio.Nursery) -> None:
    """The answer comes when the session is gone."""
    parent, worker = sides(nursery)
    for ask in (lambda: worker.store.enter((PLACE,)), lambda: worker.handshakes.enter(trio.current_time() + 9)):
        with trio.CancelScope() as scope:
            scope.cancel()
            await ask()
        assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert parent.gatehouse.here.empty
    assert parent.gatehouse.handshakes.used == 0
    await end(worker)


async def test_a_handshake_waits_for_one_of_another_worker(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    parent, worker = sides(nursery, handshakes=1)
    place = await parent.gatehouse.handshakes.enter(0)
    assert place
    assert not await worker.handshakes.enter(trio.current_time() + 5)

    async def wait() -> None:
        worker.handshakes.leave(await worker.handshakes.enter(trio.current_time() + 5))

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        parent.gatehouse.handshakes.leave(place)
    await wait_all_tasks_blocked()
    assert parent.gatehouse.handshakes.used == 0
    await end(worker)


async def test_failures_seen_by_workers_ban_the_network_at_the_door(nursery: trio.Nursery) -> None:
    parent, worker = sides(nursery, failures=3)
    assert await worker.penalties.before_login(CLIENT, "ann") == 0
    for secret in (b"one", b"one", b"two"):
        await worker.penalties.failed(CLIENT, "ann", secret)
    assert await worker.penalties.before_login(CLIENT, "ann") == 2
    await worker.penalties.failed(CLIENT, None, b"three")
    assert await worker.penalties.before_login(CLIENT, "ann") is None
    assert not isinstance(parent.gatehouse.door.enter(CLIENT), Entry)
    await end(worker)


@pytest.mark.parametrize(
    "nonsense", [Ask(1, "shutdown", ()), Ask(1, "enter", ("x",)), Ask(1, "before_login", ("nowhere", "ann"))]
)
async def test_nonsense_is_refused(nursery: trio.Nursery, nonsense: Ask) -> None:
    parent, worker = sides(nursery)
    with pytest.raises(ValueError, match=r".+"):
        await parent.answers.answer(nonsense)
    await end(worker)
