"""A worker in this process, at the other end of its channel."""

from __future__ import annotations

import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from tests.gate import Client
from tests.legacy_server import LegacyServer, imap
from tests.test_gateway import at, config, reading
from tlsgate.admission.rules import Standing
from tlsgate.config import LogFormat, LogLevel, Protocol
from tlsgate.ops.log import EventLog
from tlsgate.sockets import socket_key
from tlsgate.workers.channel import Channel, pair
from tlsgate.workers.messages import (
    UNANSWERED,
    Answer,
    Ask,
    Connection,
    Counted,
    Left,
    Ready,
    Report,
    Retire,
    ToParent,
    ToWorker,
)
from tlsgate.workers.worker import Worker


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
