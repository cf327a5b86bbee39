"""Bans of several replicas over one real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from tests.redis_server import RedisServer, redis_server
from tlsgate.admission.bans import Ban, Bans
from tlsgate.admission.network import Network, parse_client, parse_network
from tlsgate.admission.shared_bans import Shared, SharedBans
from tlsgate.config import WhenDown
from tlsgate.state.valkey import ValkeyStore

ONE = parse_network("192.0.2.0/24")[0]
TWO = parse_network("2001:db8::/64")[0]


class Silent:
    def banned(self, ban: Ban) -> None: ...
    def unbanned(self, network: str, reason: str) -> None: ...
    def state_up(self) -> None: ...
    def state_down(self, reason: str) -> None: ...
    def state_fault(self, reason: str) -> None: ...


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


class Replica:
    def __init__(self, redis: RedisServer) -> None:
        self.bans = Bans(Silent())
        self.saved = 0
        self.bans.changed = self._save
        self.store = ValkeyStore(redis.server, WhenDown.LOCAL, Silent())
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
    away.bans.load(a.bans.dump())
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
