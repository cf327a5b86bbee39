"""Counts, rates and records of several replicas over one real server; and what holds while there is none."""

from __future__ import annotations

import random
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trustme

from tests.redis_server import RedisServer, redis_server
from tests.system.peers import free_port
from tlsgate.config import WhenDown
from tlsgate.state.call import octets
from tlsgate.state.link import connect
from tlsgate.state.server import Server
from tlsgate.state.store import STATE_DOWN, Place
from tlsgate.state.valkey import ValkeyStore

LIMIT = 5


class Heard:
    """A trace that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.faults = 0

    def state_up(self) -> None:
        self.told.append("up")

    def state_down(self, reason: str) -> None:
        self.told.append(reason)

    def state_fault(self, reason: str) -> None:
        assert reason
        self.faults += 1


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
async def started(redis: RedisServer) -> RedisServer:
    await redis.start()
    return redis


@asynccontextmanager
async def replicas(
    server: Server, count: int, when_down: WhenDown = WhenDown.LOCAL
) -> AsyncIterator[tuple[ValkeyStore, ...]]:
    async with trio.open_nursery() as nursery:
        stores = tuple(ValkeyStore(server, when_down, Heard()) for _ in range(count))
        for store in stores:
            await nursery.start(store.run)
        yield stores
        nursery.cancel_scope.cancel()


def heard(store: ValkeyStore) -> Heard:
    trace = store._trace
    assert isinstance(trace, Heard)
    return trace


async def until(condition: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return condition()

    await until_asked(asked)


async def until_asked(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Ask again and again: what a server does is nobody's event."""
    with trio.fail_after(seconds):
        while True:
            if await condition():
                return
            await trio.sleep(0.02)


def place(key: str = "user a", limit: int = LIMIT) -> tuple[Place]:
    return (Place(key, limit),)


async def room(store: ValkeyStore, key: str = "user a", most: int = 30) -> int:
    """How many places are taken at ``key`` by all, as the server has it."""
    for limit in range(most):
        if await store.enter(place(key, limit)) is None:
            store.leave((key,))
            return limit - 1
    raise AssertionError("more than expected")


async def settled(store: ValkeyStore, taken: int, key: str = "user a") -> None:
    """Wait until the server has ``taken`` places: what was left is told a little later."""

    async def has() -> bool:
        return await room(store, key) == taken

    await until_asked(has)


# -- connecting -------------------------------------------------------------------------------------


async def test_tls_to_a_server_that_shows_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is between could read users' names and lift limits."""
    authority, port = trustme.CA(), free_port()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = [option for name in ("cert", "key", "ca-cert") for option in (f"--tls-{name}-file", str(tmp_path / "pem"))]
    with redis_server(tmp_path, options=("--tls-port", str(port), "--tls-auth-clients", "no", *files)) as redis:
        await redis.start()
        async with replicas(Server("localhost", port, tls=True), 1) as (store,):
            assert heard(store).told == ["TLS failed"]
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with replicas(Server("127.0.0.1", port, tls=True), 1) as (store,):
            assert heard(store).told == ["TLS failed"]  # another name
        async with replicas(Server("localhost", port, tls=True), 1) as (store,):
            await until(lambda: store.up)


# -- places -----------------------------------------------------------------------------------------


async def test_a_limit_holds_over_replicas(started: RedisServer) -> None:
    """Each replica would let its own number in."""
    async with replicas(started.server, 3) as stores:
        entered = [await stores[turn % 3].enter(place()) for turn in range(LIMIT)]
        assert entered == [None] * LIMIT
        assert [await store.enter(place()) for store in stores] == [place()[0]] * 3
        stores[1].leave(("user a",))
        await settled(stores[0], LIMIT - 1)


async def test_a_full_key_takes_no_place_at_others(started: RedisServer) -> None:
    """A refused connection would fill the total."""
    async with replicas(started.server, 2) as (a, b):
        assert await a.enter(place("network n", 1)) is None
        places = (Place("user a", LIMIT), Place("network n", 1))
        assert await b.enter(places) == places[1]
        assert await room(b) == 0


async def test_counts_are_exact_under_churn(started: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts drift, or more are in than may be, when many come and go at once and one replica dies."""
    monkeypatch.setattr("tlsgate.state.conversation._LEASE", 1500)
    inside = {"a": 0, "b": 0}
    refused = 0

    async def visitor(store: ValkeyStore, rng: random.Random) -> None:
        nonlocal refused
        for _ in range(30):
            keys = rng.choice((("a",), ("b",), ("a", "b"), ("b", "a")))
            if await store.enter([Place(key, 8) for key in keys]) is not None:
                refused += 1
                continue
            for key in keys:
                inside[key] += 1
                assert inside[key] <= 8
            await trio.sleep(rng.random() / 500)
            for key in keys:
                inside[key] -= 1
            store.leave(keys)

    async with replicas(started.server, 3) as stores:
        async with replicas(started.server, 1) as (dead,), trio.open_nursery() as visitors:
            assert await dead.enter([Place("a", 8), Place("b", 8)]) is None
            for number in range(45):
                visitors.start_soon(visitor, stores[number % 3], random.Random(number))
        assert refused
        for key in inside:
            await settled(stores[0], 0, key)


async def test_a_caller_that_is_cancelled_holds_nothing(started: RedisServer) -> None:
    """A client that closes while it is asked for would hold a place for ever."""
    async with replicas(started.server, 2) as (a, b):
        for _ in range(LIMIT):
            with trio.move_on_after(0) as scope:
                await a.enter(place())
            assert scope.cancelled_caught
        for turns in range(1, 10):  # also while the request is under way
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.enter, place())
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if a.used("user a"):
                a.leave(("user a",))  # the answer was first
        await settled(b, 0)
        assert a.used("user a") == 0


async def test_a_dead_replicas_places_are_free_again(started: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash users would be locked out by sessions that are no more."""
    monkeypatch.setattr("tlsgate.state.conversation._LEASE", 1500)
    async with replicas(started.server, 1) as (alive,):
        async with replicas(started.server, 1) as (dead,):
            for _ in range(LIMIT - 1):
                assert await dead.enter(place()) is None
            assert await alive.enter(place()) is None
            assert await alive.enter(place()) is not None
            monkeypatch.setattr(dead, "_farewell", trio.lowlevel.checkpoint)
        await settled(alive, 1)
        assert (await started.command("HLEN", '"tlsgate:place:user a"')) == b":1\r\n"


def test_the_first_connection_imports_nothing() -> None:
    """It comes after we have become a user who may not be allowed to read our files."""
    program = "import sys, tlsgate.state.valkey; print('anyio._backends._trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"True\n"


async def test_the_places_of_a_replica_that_ends_are_free_at_once(started: RedisServer) -> None:
    """At each restart its clients would else be refused for the sessions that they had, until the lease ends."""
    async with replicas(started.server, 1) as (alive,):
        async with replicas(started.server, 1) as (ended,):
            for _ in range(LIMIT):
                assert await ended.enter(place()) is None
            assert await alive.enter(place()) is not None
        with trio.fail_after(1):
            await settled(alive, 0)


async def test_an_end_waits_for_no_server(started: RedisServer) -> None:
    async with replicas(started.server, 1) as (_,):
        started.pause()
        began = trio.current_time()
    assert trio.current_time() - began < 2
    started.resume()


async def test_a_replica_that_was_cut_off_says_its_counts_again(
    started: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sessions go on, and others would not count them."""
    async with replicas(started.server, 2) as (a, b):
        assert await a.enter(place()) is None
        assert await started.command("DEL", f"tlsgate:replica:{a._replica}") == b":1\r\n"
        assert await room(b) == 0
        await settled(b, 1)
        assert heard(a).told == ["up"]


async def test_what_an_old_incarnation_says_late_is_not_done(started: RedisServer) -> None:
    """A request that was given up may still arrive: it would count on top of what was said again."""
    async with replicas(started.server, 2) as (a, b), trio.open_nursery() as nursery:
        assert await a.enter(place()) is None
        await started.command("FLUSHALL")
        await until(lambda: a.incarnation == 2)
        late = await connect(started.server, nursery, trio.CapacityLimiter(1))
        enter = ("enter", "user a", LIMIT)
        for begins in (False, True):
            request = (a._replica, 1, begins, 10_000, octets(a.hash_key), ["user b", 3], [enter])
            assert await late.evaluate(msgspec.msgpack.encode(request)) == [0]
        await settled(b, 1)
        assert await room(b, "user b") == 0
        assert a.incarnation == 2
        nursery.cancel_scope.cancel()


# -- rates and records ------------------------------------------------------------------------------


async def test_a_rate_holds_over_replicas(started: RedisServer) -> None:
    async with replicas(started.server, 3) as stores:
        spent = [await stores[turn % 3].spend("n", 4, 60.0) for turn in range(6)]
        assert spent == [True] * 4 + [False] * 2
        assert await stores[0].spend("m", 10, 60.0, 8)
        assert not await stores[1].spend("m", 10, 60.0, 3)
        assert await stores[2].spend("m", 10, 60.0, 2)


async def test_what_was_spent_counts_no_longer_than_its_window(started: RedisServer) -> None:
    """A client would never be let in again, or always."""
    async with replicas(started.server, 2) as (a, b):
        assert await a.spend("n", 2, 0.6)
        began = trio.current_time()
        assert await a.spend("n", 2, 0.6)
        await until_asked(lambda: b.spend("n", 2, 0.6))
        assert trio.current_time() - began > 0.4


async def test_records_are_swapped_by_one_at_a_time(started: RedisServer) -> None:
    """Two failures that are noted at once would be one."""

    async def add(store: ValkeyStore) -> None:
        for _ in range(20):
            while True:
                before = await store.read("r")
                if await store.swap("r", before, str(int(before or b"0") + 1).encode(), 60.0):
                    break

    async with replicas(started.server, 3) as stores:
        async with trio.open_nursery() as nursery:
            for store in stores:
                nursery.start_soon(add, store)
        assert await stores[0].read("r") == b"60"


async def test_records_are_octets_and_end(started: RedisServer) -> None:
    async with replicas(started.server, 2) as (a, b):
        assert await a.read("r") is None
        value = bytes(range(256))
        assert await a.swap("r", None, value, 60.0)
        assert not await b.swap("r", None, b"x", 60.0)
        assert await b.read("r") == value
        assert await b.swap("r", value, None, 60.0)
        assert await a.read("r") is None
        assert await a.swap("r", None, b"", 0.1)

        async def gone() -> bool:
            return await b.read("r") is None

        await until_asked(gone)


async def test_one_hash_key_for_all(started: RedisServer) -> None:
    """Each replica would hash the same password otherwise, and count one saved password as many guesses."""
    async with replicas(started.server, 3) as stores:
        keys = {store.hash_key for store in stores}
        assert len(keys) == 1
        await started.command("FLUSHALL")
        await until(lambda: all(store.incarnation > 1 for store in stores))
        assert {store.hash_key for store in stores} == keys


# -- E6: down, slow, empty, garbage -----------------------------------------------------------------


async def test_down_at_start_and_up_later(redis: RedisServer) -> None:
    async with replicas(redis.server, 2) as stores:
        a, b = stores
        assert [heard(store).told for store in stores] == [["no connection"]] * 2
        for _ in range(LIMIT):
            assert await a.enter(place()) is None
        assert await a.enter(place()) == place()[0]
        assert await b.enter(place()) is None  # by its own counts
        assert await a.spend("n", 1, 60.0) and not await a.spend("n", 1, 60.0)
        assert await a.swap("r", None, b"x", 60.0) and await a.read("r") == b"x"
        await redis.start()
        await until(lambda: a.up and b.up)
        assert await room(b) == LIMIT + 1
        assert heard(a).faults >= 1 and heard(a).told == ["no connection", "up"]


async def test_refuse_when_down(redis: RedisServer) -> None:
    async with replicas(redis.server, 1, WhenDown.REFUSE) as (store,):
        assert await store.enter(place()) is STATE_DOWN
        assert not await store.spend("n", 9, 60.0)
        assert await store.read("r") is None
        assert await store.swap("r", None, b"x", 60.0)
        await redis.start()
        await until(lambda: store.up)
        assert await room(store) == 0


async def test_a_server_that_stands_still_holds_nobody_up(started: RedisServer) -> None:
    """Logins would hang with it; and places asked for meanwhile would be counted twice or never."""
    async with replicas(started.server, 2) as (a, b):
        assert await a.enter(place()) is None
        started.pause()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(LIMIT - 1):
                nursery.start_soon(a.enter, place())
        assert trio.current_time() - began < 1.2
        assert not a.up and a.used("user a") == LIMIT
        began = trio.current_time()
        assert await a.enter(place()) == place()[0]
        assert trio.current_time() - began < 0.1
        a.leave(("user a",))
        started.resume()
        await until(lambda: a.up and b.up)
        await settled(b, LIMIT - 1)


async def test_a_server_that_starts_again_empty_has_all_counts_again(started: RedisServer) -> None:
    async with replicas(started.server, 3) as (a, b, c):
        for store in (a, b, b):
            assert await store.enter(place()) is None
        started.kill()
        await until(lambda: not (a.up or b.up or c.up))
        a.leave(("user a",))
        assert await c.enter(place()) is None
        await started.start()
        await until(lambda: a.up and b.up and c.up)
        await settled(a, 3)


async def test_a_server_that_loses_all_keys_has_all_counts_again(started: RedisServer) -> None:
    """With nobody's connection broken, nobody would notice."""
    async with replicas(started.server, 2) as (a, b):
        for store in (a, a, b):
            assert await store.enter(place()) is None
        await started.command("FLUSHALL")
        await until(lambda: a.incarnation == b.incarnation == 2)
        await settled(a, 3)
        assert heard(a).told == heard(b).told == ["up"]


async def test_a_server_that_loses_its_scripts(started: RedisServer) -> None:
    async with replicas(started.server, 1) as (store,):
        await started.command("SCRIPT", "FLUSH")
        assert await store.enter(place()) is None
        assert heard(store).told == ["up"]


async def test_one_that_lost_a_count_is_told_again(started: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An eviction, or a count's own end, would leave it too low as long as the session lasts."""
    monkeypatch.setattr("tlsgate.state.conversation._AGAIN", 0.0)
    async with replicas(started.server, 2) as (a, b):
        assert await a.enter(place()) is None
        assert await started.command("DEL", '"tlsgate:place:user a"') == b":1\r\n"
        await settled(b, 1)


GARBAGE = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "another protocol": b"* OK IMAP4rev1\r\n",
    "nothing but octets": bytes(range(256)),
    "a huge answer": b"$999999999999\r\n" + b"x" * 100_000,
    "an error with a secret": b"-ERR hunter2\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_no_server(said: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await stream.receive_some()
                await stream.send_all(said)
                while await stream.receive_some():
                    pass
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with replicas(Server("127.0.0.1", port), 1) as (store,):
            assert not store.up
            assert await store.enter(place()) is None
            assert "hunter2" not in "".join(heard(store).told)
        nursery.cancel_scope.cancel()


ANSWERS = {
    "a number": b":1\r\n",
    "too short": b"*1\r\n:1\r\n",
    "no octets": b"*3\r\n:1\r\n:0\r\n:7\r\n",
    "a short key": b"*3\r\n:1\r\n:0\r\n$1\r\nx\r\n",
    "answers nobody asked for": b"*4\r\n:1\r\n:0\r\n$32\r\n" + b"k" * 32 + b"\r\n:0\r\n",
    "for ever lost": b"*1\r\n:0\r\n",
}


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
async def test_answers_that_make_no_sense(said: bytes) -> None:
    """A server that is one, but answers to the script something else."""
    hello = b"%3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n"

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await stream.receive_some()
                await stream.send_all(hello)
                while await stream.receive_some():
                    await stream.send_all(said)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with replicas(Server("127.0.0.1", port), 1) as (store,):
            assert not store.up
            assert await store.enter(place()) is None
        nursery.cancel_scope.cancel()


async def test_a_wrong_password_is_told_and_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    right, wrong = secrets.token_hex(8), secrets.token_hex(8)
    with redis_server(tmp_path, right) as redis:
        await redis.start()
        async with replicas(redis.server, 1) as (good,):
            await until(lambda: good.up)
        for password, reason in ((wrong, "wrong user name or password"), (None, "a password is needed")):
            async with replicas(Server("127.0.0.1", redis.port, password=password), 1) as (bad,):
                assert heard(bad).told == [reason]
    assert wrong not in caplog.text and right not in caplog.text


async def test_calls_end_with_the_task(started: RedisServer) -> None:
    """Sessions that outlive the task would wait for ever."""
    answers: list[Place | None] = []
    store = ValkeyStore(started.server, WhenDown.LOCAL, Heard())

    async def ask() -> None:
        answers.append(await store.enter(place()))

    async with trio.open_nursery() as callers:
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            started.pause()
            callers.start_soon(ask)
            await until(lambda: bool(store._queue or store._sent))
            nursery.cancel_scope.cancel()
        callers.cancel_scope.deadline = trio.current_time() + 5
    assert answers == [None]
    started.resume()
