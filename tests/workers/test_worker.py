"""A worker in this process, at the other end of its channel."""

from __future__ import annotations

import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from tests.gate import Client
from tests.legacy_server import USER, LegacyServer, imap
from tests.test_gateway import at, config, reading
from tlsgate.admission.rules import Standing
from tlsgate.config import LogFormat, LogLevel, Protocol
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.pool_view import PoolView
from tlsgate.ops.session_view import Page, Wanted
from tlsgate.serving import Serving
from tlsgate.sockets import socket_key
from tlsgate.workers.channel import Channel, pair
from tlsgate.workers.messages import (
    UNANSWERED,
    Answer,
    Ask,
    Connection,
    Counted,
    Done,
    Left,
    Order,
    Ready,
    Report,
    Retire,
    ToParent,
    ToWorker,
)
from tlsgate.workers.orders import LONGEST, carry_out
from tlsgate.workers.worker import Worker

T = TypeVar("T")


@dataclass
class Parent:
    """Says yes to everything, and keeps what it is told. ``ended``: the worker's run has returned."""

    channel: Channel
    key: str
    heard: list[ToParent] = field(default_factory=list)
    more: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    outside: list[trio.SocketStream] = field(default_factory=list)

    def say(self, message: ToWorker, connected: socket.socket | None = None) -> None:
        self.channel.send(msgspec.msgpack.encode(message), connected)

    async def hear(self) -> None:
        while packet := (await self.channel.receive())[0]:
            message = msgspec.msgpack.decode(packet, type=ToParent)
            self.heard.append(message)
            if isinstance(message, Ask) and message.id != UNANSWERED:
                self.say(Answer(message.id, {"handshake": True, "before_login": 0.0}.get(message.what)))
            self.more.set()
            self.more = trio.Event()

    async def done(self, number: int, kind: type[T]) -> T:
        """What it answers to an order."""
        while True:
            for message in self.heard:
                if isinstance(message, Done) and message.id == number:
                    return msgspec.convert(message.value, kind)
            await self.more.wait()

    async def next(self, kind: type[ToParent]) -> ToParent:
        """The first of its kind that isn't taken yet."""
        while True:
            for message in self.heard:
                if isinstance(message, kind):
                    self.heard.remove(message)
                    return message
            await self.more.wait()

    def hand_over(self, handle: int, listener: str | None = None) -> trio.SocketStream:
        """A connection; the client's end of it."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        standing = Standing.STRANGER.value
        self.say(Connection(handle, listener or self.key, "192.0.2.7", 4000, standing, None, 0.0), theirs)
        ours.setblocking(False)
        self.outside.append(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        return self.outside[-1]

    async def log_in(self, handle: int) -> Client:
        client = Client(self.hand_over(handle), Protocol.IMAP)
        await client.start_tls()
        assert (await client.line()).startswith(b"* OK")
        assert (await client.log_in()).startswith(b"a OK")
        return client


@asynccontextmanager
async def worker(directory: Path) -> AsyncIterator[Parent]:
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    ours, its = pair()
    async with trio.open_nursery() as nursery:
        server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
        prepared = reading(config(directory, at(server)))
        parent, channel = Parent(Channel(ours), socket_key(prepared.listeners[0])), Channel(its)

        async def run() -> None:
            await Worker(prepared, channel, log).run()
            channel.close()  # as the end of its process does
            parent.ended.set()

        nursery.start_soon(run)
        nursery.start_soon(parent.hear)
        with trio.fail_after(20):
            assert isinstance(await parent.next(Ready), Ready)
            yield parent
            parent.say(Retire((parent.key,), 0.0))
            await parent.ended.wait()
        nursery.cancel_scope.cancel()
    for stream in parent.outside:
        stream.socket.close()
    parent.channel.close()
    channel.close()
    log.close()


async def test_it_serves_until_it_is_retired_and_its_last_session_has_ended(tmp_path: Path) -> None:
    async with worker(tmp_path) as parent:
        one, two = await parent.log_in(1), await parent.log_in(2)
        parent.say(Retire((), 0.0))
        one.close()
        assert await parent.next(Left) == Left(1)
        assert (await two.ask(b"n NOOP")).startswith(b"n OK")
        assert not parent.ended.is_set()
        two.close()
        assert await parent.next(Left) == Left(2)
        counted = await parent.next(Counted)  # what its last sessions have counted must not be lost
        assert isinstance(counted, Counted)
        listeners = msgspec.msgpack.decode(counted.dumped)["listeners"]
        assert listeners["imaps"]["session_seconds"][0].count(0) < len(listeners["imaps"]["session_seconds"][0])
        await parent.ended.wait()


async def test_sessions_of_a_listener_that_is_gone_end_in_time(tmp_path: Path) -> None:
    async with worker(tmp_path) as parent:
        client = await parent.log_in(1)
        parent.say(Retire((parent.key,), 0.1))
        assert await client.ended()
        assert await parent.next(Left) == Left(1)
        await parent.ended.wait()


async def test_without_a_parent_it_ends_and_so_do_its_sessions(tmp_path: Path) -> None:
    """Nobody counts what it would serve."""
    async with worker(tmp_path) as parent:
        client = await parent.log_in(1)
        parent.channel.close()
        assert await client.ended()
        await parent.ended.wait()


async def test_a_connection_that_came_without_its_descriptor_is_given_back(tmp_path: Path) -> None:
    """A worker short of descriptors loses them on the way: the parent would count them for ever."""
    async with worker(tmp_path) as parent:
        parent.say(Connection(7, parent.key, "192.0.2.7", 4000, Standing.STRANGER.value, None, 0.0))
        assert await parent.next(Left) == Left(7)


async def test_a_connection_for_a_listener_that_is_gone_is_closed(tmp_path: Path) -> None:
    """One that a balancer has brought while the listener was removed: no reason to end all the others."""
    async with worker(tmp_path) as parent:
        client = await parent.log_in(1)
        stream = parent.hand_over(2, "127.0.0.1:1")
        assert await stream.receive_some(1) == b""
        assert await parent.next(Left) == Left(2)
        assert (await client.ask(b"n NOOP")).startswith(b"n OK")


async def test_it_tells_what_it_has_counted(tmp_path: Path) -> None:
    async with worker(tmp_path) as parent:
        await parent.log_in(1)
        parent.say(Report())
        counted = await parent.next(Counted)
        assert isinstance(counted, Counted)
        assert msgspec.msgpack.decode(counted.dumped)["listeners"]["imaps"]["connections"] == [[["accepted"], 1]]


# -- orders ----------------------------------------------------------------------------------------------


async def test_it_tells_of_its_sessions_and_pools_and_ends_sessions(tmp_path: Path) -> None:
    async with worker(tmp_path) as parent:
        client, other = await parent.log_in(1), await parent.log_in(2)
        parent.say(Order(1, "sessions", Wanted(user=USER)))
        page = await parent.done(1, Page)
        assert page.total == 2
        assert [each.client_port for each in page.sessions] == [4000, 4000]
        parent.say(Order(2, "kick", Wanted(id=page.sessions[0].id)))
        assert await parent.done(2, int) == 1
        assert (await client.line()).startswith(b"* BYE ")
        assert (await other.ask(b"n NOOP")).startswith(b"n OK")
        parent.say(Order(3, "pool", "imap"))
        pool = await parent.done(3, PoolView)
        assert [each.connections for each in pool.backends] == [1]
        parent.say(Order(4, "pool", "nonesuch"))
        assert await parent.done(4, object) is None
        other.close()


async def test_an_order_that_it_cannot_read_ends_no_session(tmp_path: Path) -> None:
    async with worker(tmp_path) as parent:
        client = await parent.log_in(1)
        for number, (what, argument) in enumerate(
            [("kick", Wanted(id="x" * 2000)), ("sessions", Wanted(client="nobody")), ("sessions", 7), ("dance", None)]
        ):
            parent.say(Order(number, what, argument))
            assert await parent.done(number, object) is None
        assert (await client.ask(b"n NOOP")).startswith(b"n OK")
        client.close()


async def test_the_longest_answer_passes_the_channel() -> None:
    """A packet that is too large for the channel would end the worker, and all its sessions."""
    ours, its = pair()
    async with trio.open_nursery() as nursery:
        sending, receiving = Channel(its), Channel(ours)
        nursery.start_soon(sending.run)
        sending.send(bytes(LONGEST))
        with trio.fail_after(5):
            assert len((await receiving.receive())[0]) == LONGEST
        nursery.cancel_scope.cancel()
    sending.close()
    receiving.close()


async def test_what_does_not_fit_a_packet_is_answered_by_nothing() -> None:
    class Talkative(Serving):
        def pool(self, name: str) -> PoolView | None:
            return PoolView(name, "x" * LONGEST, [])

    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    assert await carry_out(Order(1, "pool", "p"), Talkative(log, Metrics(log))) == Done(1, None)
    log.close()
