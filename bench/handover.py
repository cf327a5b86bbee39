"""What it costs to let another process serve a connection: CPU of all processes, microseconds a connection.

    python bench/handover.py [connections]

``alone``: one process accepts, counts and closes. ``acceptor``: one accepts, counts and hands the descriptor over to
one of two workers, which says when it is closed. ``side by side``: two processes accept (SO_REUSEPORT) and count in
shared memory under one lock.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import trio

from tlsgate.arrival import Arrival
from tlsgate.state.memory import Memory
from tlsgate.state.store import Place
from tlsgate.workers.channel import Channel, pair
from tlsgate.workers.messages import Connection, Left, ToParent, ToWorker

_PLACES = (Place("connections", 1 << 30), Place("network 127.0.0.1/32", 1 << 30))
_encode = msgspec.msgpack.Encoder().encode


def listen(reuse_port: bool = False) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", 0))
    listening.listen(4096)
    listening.setblocking(False)
    return listening


@contextmanager
def child(work: Callable[[], object]) -> Iterator[None]:
    """A forked process that does ``work`` and is waited for."""
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    yield
    os.waitpid(pid, 0)


def connect(address: tuple[str, int], count: int) -> None:
    """``count`` connections, 64 at a time, each closed by the server."""
    for _ in range(count // 64):
        clients = [socket.create_connection(address) for _ in range(64)]
        for client in clients:
            client.recv(1)
            client.close()


async def alone(listening: socket.socket, count: int) -> None:
    store, seen = Memory(), 0
    while seen < count:
        await trio.lowlevel.wait_readable(listening)
        for _ in range(64):
            try:
                connected, _ = listening.accept()
            except BlockingIOError:
                break
            store.enter_now(_PLACES)
            connected.close()
            store.leave([key for key, _ in _PLACES])
            seen += 1


async def worker(channel: Channel) -> None:
    decode = msgspec.msgpack.Decoder(ToWorker).decode
    while (packet := await channel.receive())[0]:
        message, connected = decode(packet[0]), packet[1]
        assert isinstance(message, Connection) and connected is not None
        connected.close()
        channel.send(_encode(Left(message.handle)))


async def acceptor(listening: socket.socket, channels: list[Channel], count: int) -> None:
    store, decode = Memory(), msgspec.msgpack.Decoder(ToParent).decode
    left = [0]

    async def hear(channel: Channel) -> None:
        while packet := (await channel.receive())[0]:
            decode(packet)
            store.leave([key for key, _ in _PLACES])
            left[0] += 1
            if left[0] == count:
                nursery.cancel_scope.cancel()

    seen = 0
    async with trio.open_nursery() as nursery:
        for channel in channels:
            nursery.start_soon(hear, channel)
            nursery.start_soon(channel.run)
        while True:
            await trio.lowlevel.wait_readable(listening)
            for _ in range(64):
                try:
                    connected, (host, port) = listening.accept()
                except BlockingIOError:
                    break
                store.enter_now(_PLACES)
                arrival = Arrival(connected, host, port, None)
                seen += 1
                message = Connection(seen, "imaps", arrival.host, arrival.port, 1, None, arrival.waited)
                channels[seen % len(channels)].send(_encode(message), connected)
    for channel in channels:
        channel.close()


def hand_over(count: int) -> None:
    listening = listen()
    pairs = [pair() for _ in range(2)]
    address = listening.getsockname()
    for _, its in pairs:
        pid = os.fork()
        if not pid:
            listening.close()
            for ours, other in pairs:
                ours.close()
                if other is not its:
                    other.close()
            trio.run(worker, Channel(its))
            os._exit(0)
    for _, its in pairs:
        its.close()
    with child(lambda: connect(address, count)):
        trio.run(acceptor, listening, [Channel(ours) for ours, _ in pairs], count)
    for _ in pairs:
        os.wait()


def side_by_side(count: int) -> None:
    first, table, lock = listen(reuse_port=True), mmap.mmap(-1, 4096), multiprocessing.Lock()
    address = first.getsockname()
    second = socket.socket()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    second.bind(address)
    second.listen(4096)
    second.setblocking(False)

    def serve(listening: socket.socket) -> None:
        while struct.unpack_from("q", table, 16)[0] < count:
            if not select.select([listening], [], [], 0.05)[0]:
                continue
            try:
                connected, _ = listening.accept()
            except BlockingIOError:
                continue
            for step in (1, -1):
                with lock:
                    for at in (0, 8):
                        struct.pack_into("q", table, at, struct.unpack_from("q", table, at)[0] + step)
                if step == 1:
                    connected.close()
            with lock:
                struct.pack_into("q", table, 16, struct.unpack_from("q", table, 16)[0] + 1)

    with child(lambda: connect(address, count)), child(lambda: serve(second)):
        serve(first)


def one(count: int) -> None:
    listening = listen()
    with child(lambda: connect(listening.getsockname(), count)):
        trio.run(alone, listening, count)


def main() -> None:
    count = int(sys.argv[1]) // 64 * 64 if len(sys.argv) > 1 else 6400
    for name, run in (("alone", one), ("acceptor", hand_over), ("side by side", side_by_side)):
        before = _spent()
        began = time.monotonic()
        run(count)
        took = time.monotonic() - began
        print(
            f"{name:13} {(_spent() - before) / count * 1e6:6.1f} us, generator included; {count / took:8.0f} a second"
        )


def _spent() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    main()
