"""Bans of several replicas over one real server."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import thread_time

import msgspec
import pytest
import trio

from tests.gate import BanRecords
from tests.redis_server import RedisServer, redis_server
from tlsgate.admission.bans import Bans, encode
from tlsgate.admission.network import Network, parse_client, parse_network
from tlsgate.admission.shared_bans import Shared, SharedBans
from tlsgate.config import WhenDown
from tlsgate.state.valkey import ValkeyStore

ONE = parse_network("192.0.2.0/24")[0]
TWO = parse_network("2001:db8::/64")[0]


class Told(BanRecords):
    """What is told of bans; of the state nothing is kept."""

    def state_up(self) -> None: ...
    def state_down(self, reason: str) -> None: ...
    def state_fault(self, reason: str) -> None: ...


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


class Replica:
    def __init__(self, redis: RedisServer) -> None:
        self.told = Told()
        self.bans = Bans(self.told)
        self.saved = 0
        self.bans.changed = self._save
        self.store = ValkeyStore(redis.server, WhenDown.LOCAL, Told())
        self.shared = SharedBans(self.bans, self.store)

    def _save(self) -> None:
        self.saved += 1

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.store.run)
            nursery.start_soon(self.shared.run)
            task_status.started()

    def until(self, network: Network) -> float | None:
        return next((ban.until for ban in self.bans.active() if ban.network == str(network)), None)


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for replica in replicas:
            await nursery.start(replica.run)
        yield
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async def poll() -> None:
        while True:
            if condition():
                return
            await trio.sleep(0.01)

    with trio.fail_after(seconds):
        await poll()


async def test_a_ban_is_known_to_all_within_a_second_or_so(redis: RedisServer) -> None:
    """A guesser would begin anew at each replica."""
    await redis.start()
    a, b, c = (Replica(redis) for _ in range(3))
    async with running(a, b, c):
        ban = a.bans.punish(ONE, 60.0, "failed logins")
        await until(lambda: b.until(ONE) is not None and c.until(ONE) is not None, 2.0)
        assert b.bans.find(parse_client("192.0.2.9")) == ban
        assert b.saved  # and outlives a restart there
        assert b.bans.punish(ONE, 60.0, "failed logins").count == 2
        await until(lambda: a.until(ONE) == b.until(ONE) == c.until(ONE))


async def test_a_lift_is_known_to_all_and_stays(redis: RedisServer) -> None:
    """An administrator would have to ask every replica, and whoever was away would bring the ban back."""
    await redis.start()
    a, b, away = (Replica(redis) for _ in range(3))
    ban = a.bans.punish(ONE, 60.0, "r")
    away.bans.load(encode(a.bans.snapshot()))
    async with running(a, b):
        await until(lambda: b.until(ONE) == ban.until)
        assert b.bans.lift(ONE, "by hand")
        await until(lambda: a.until(ONE) is None)
        async with running(away):
            await until(lambda: away.until(ONE) is None)
            assert a.until(ONE) is b.until(ONE) is None
            again = away.bans.add(ONE, 30.0, "anew")
            await until(lambda: a.until(ONE) == b.until(ONE) == again.until)


async def test_of_two_bans_the_later_end_stands(redis: RedisServer) -> None:
    a, b = Replica(redis), Replica(redis)
    a.bans.add(ONE, 60.0, "short")
    long = b.bans.add(ONE, 600.0, "long")
    other = a.bans.add(TWO, 60.0, "other")
    async with running(a, b):  # while the server is down
        await redis.start()
        await until(lambda: a.until(ONE) == long.until and b.until(TWO) == other.until)
        assert b.until(ONE) == long.until


async def test_a_lift_while_the_server_is_away_holds_when_it_is_back(redis: RedisServer) -> None:
    await redis.start()
    a, b = Replica(redis), Replica(redis)
    async with running(a, b):
        a.bans.punish(ONE, 60.0, "r")
        await until(lambda: b.until(ONE) is not None)
        redis.pause()
        await until(lambda: not a.store.up and not b.store.up)
        assert a.bans.lift(ONE, "by hand")
        redis.resume()
        await until(lambda: b.until(ONE) is None)
        assert a.until(ONE) is None


async def test_a_server_that_lost_all_has_the_bans_again(redis: RedisServer) -> None:
    await redis.start()
    a, b, late = (Replica(redis) for _ in range(3))
    async with running(a, b):
        bans = [a.bans.add(parse_network(f"10.0.{number}.0/24")[0], 60.0, "r") for number in range(50)]
        await until(lambda: len(b.bans) == 50)
        await redis.command("FLUSHALL")
        await until(lambda: a.store.incarnation == b.store.incarnation == 2)
        async with running(late):
            await until(lambda: len(late.bans) == 50)
            assert {ban.network for ban in late.bans.active()} == {ban.network for ban in bans}


async def test_many_bans_come_in_pages(redis: RedisServer) -> None:
    """What doesn't fit into one answer would never come."""
    await redis.start()
    a, b = Replica(redis), Replica(redis)
    for number in range(2300):
        a.bans.add(Network(4, 0x0A000000 + number, 32), 60.0, "r")
    async with running(a, b):
        await until(lambda: len(b.bans) == 2300, 10.0)


async def test_what_makes_no_sense_at_the_server_is_passed_over(redis: RedisServer) -> None:
    """One bad entry would keep all bans from being shared, or raise in the task."""
    await redis.start()
    a, b = Replica(redis), Replica(redis)
    async with running(a):
        for bad in (
            Shared("x", 1.0, 9e9, 1, "", False),
            Shared("10.0.0.1/24", 1.0, 9e9, 1, "", False),
            Shared("10.0.1.0/24", 1.0, 9e18, 1, "", False),
            Shared("10.0.2.0/24", 1.0, 9e9, 0, "", False),
        ):
            assert await a.store.exchange_bans(0, [msgspec.msgpack.encode(bad)]) is not None
        a.bans.add(ONE, 60.0, "r")
        async with running(b):
            await until(lambda: b.until(ONE) is not None)
            assert len(b.bans) == len(a.bans) == 1


async def test_what_another_replica_does_is_told_as_its_own(redis: RedisServer) -> None:
    """By this replica's log nobody could say why a client is refused."""
    await redis.start()
    a, b = Replica(redis), Replica(redis)
    async with running(a, b):
        await until(lambda: a.store.up and b.store.up)
        ban = a.bans.punish(ONE, 60.0, "failed logins")
        await until(lambda: b.until(ONE) == ban.until)
        a.bans.lift(ONE, "admin")
        await until(lambda: b.until(ONE) is None)
    assert [(each.network, each.reason) for each in b.told.banned_networks] == [
        (ban.network, "failed logins (by another replica)")
    ]
    assert b.told.unbanned_networks == [(ban.network, "replica")]
    assert a.told.banned_networks == [ban]
    assert a.told.unbanned_networks == [(ban.network, "admin")]


async def test_a_shorter_ban_after_a_lift_is_known_to_who_had_the_longer_one(redis: RedisServer) -> None:
    """A replica that saw only the last of the two would refuse for longer than the others."""
    await redis.start()
    a, b = Replica(redis), Replica(redis)
    async with running(a, b):
        a.bans.add(ONE, 600.0, "long")
        await until(lambda: b.until(ONE) == a.until(ONE) is not None)
        a.bans.lift(ONE, "by hand")
        short = a.bans.add(ONE, 30.0, "short")
        await until(lambda: b.until(ONE) == short.until)


class Steps(trio.abc.Instrument):
    """How long the loop was held at most, in seconds of its own work."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began = thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest = max(self.longest, thread_time() - self._began)


@contextmanager
def measured() -> Iterator[Steps]:
    gc.collect()
    gc.freeze()  # as the gateway does: what pytest holds isn't looked at again
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)
        gc.unfreeze()


MANY = 60_000


class Kept:
    """A store with many bans, in pages; what is given to it isn't kept, but for how much it was."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.incarnation = 1
        self.bans_version = MANY
        self.given = 0
        networks = (Network(6, (0x2001_0DB8 << 96) + (number << 64), 64) for number in range(MANY))
        self.bans = [msgspec.msgpack.encode(Shared(str(each), 1.0, 9e9, 1, "spam", False)) for each in networks]

    async def exchange_bans(self, seen: int, bans: list[bytes]) -> tuple[int, list[bytes]] | None:
        await trio.lowlevel.checkpoint()
        self.given += len(bans)
        page = self.bans[seen : seen + 1000]
        return seen + len(page), page

    def put(self, shared: Shared) -> None:
        self.bans.append(msgspec.msgpack.encode(shared))
        self.bans_version += 1
        self.changed()


async def test_many_bans_are_taken_over_and_changed_without_holding_the_loop() -> None:
    """Each ban of a flood cost every replica 400 ms of standing still, a page of them as much."""
    store, told = Kept(), BanRecords()
    bans = Bans(told)
    async with trio.open_nursery() as nursery:
        with measured() as joining:
            nursery.start_soon(SharedBans(bans, store).run)
            await until(lambda: len(bans.snapshot()) == MANY, 30.0)
        assert joining.longest < 0.03
        assert not told.banned_networks, "a replica that starts would log each"
        with measured() as taking:
            store.put(Shared(str(ONE), 1.0, 9e9, 1, "spam", False))
            await until(lambda: bans.find(parse_client("192.0.2.1")) is not None)
        assert taking.longest < 0.005
        assert not store.given
        with measured() as giving:
            bans.add(TWO, 60.0, "spam")
            await until(lambda: store.given == 1)
        assert giving.longest < 0.005
        assert len(told.banned_networks) == 2
        nursery.cancel_scope.cancel()
