"""Streams to backends, at the moments where a connection breaks."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from contextlib import ExitStack
from typing import Any

import pytest
import trio

from tests.gate import HOSTNAME, authority
from tlsgate.backends.faults import BackendFault
from tlsgate.backends.stream import BackendTlsStream, client_context, connect, connected
from tlsgate.config import Backend, BackendTls, HostPort
from tlsgate.tls.stream import RECORD, WOULD_BLOCK, StreamLost
from tlsgate.tls.waits import waits


def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, ours non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    return ours, theirs


def context() -> ssl.SSLContext:
    return client_context(Backend(address=HostPort("127.0.0.1", 1), tls=BackendTls.IMPLICIT, verify=False))


async def tls_pair() -> tuple[BackendTlsStream, trio.SSLStream[trio.SocketStream]]:
    ours, theirs = connected_pair()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(HOSTNAME).configure_cert(server_context)
    server = trio.SSLStream(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)), server_context, server_side=True)
    stream = BackendTlsStream(ours, context(), HOSTNAME)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(stream.handshake)
    return stream, server


async def test_a_connection_that_was_reset_before_the_handshake_is_a_lost_stream() -> None:
    """Not an OSError, which nobody above would know as this backend's."""
    ours, theirs = connected_pair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(StreamLost):
        BackendTlsStream(ours, context(), HOSTNAME)
    ours.close()


async def test_what_is_sent_arrives_and_silence_blocks_nobody() -> None:
    stream, server = await tls_pair()
    buffer = memoryview(bytearray(65536))
    assert stream.read_into(buffer) == WOULD_BLOCK
    sent = bytes(range(256)) * 4096
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send, sent)
        while len(got) < len(sent):
            got += await server.receive_some(65536)
    assert got == sent
    await server.send_all(b"back")
    assert await stream.receive() == b"back"
    stream.close()
    await trio.aclose_forcefully(server)


@pytest.mark.parametrize("notified", [True, False])
async def test_the_peers_end_is_an_end_with_or_without_close_notify(notified: bool) -> None:
    stream, server = await tls_pair()
    await server.send_all(b"last words")
    if notified:
        with trio.move_on_after(0.1):
            await server.aclose()
    await trio.aclose_forcefully(server)
    assert await stream.receive() == b"last words"
    assert await stream.receive() == b""
    stream.close()


async def test_writing_to_a_lost_peer_says_so() -> None:
    stream, server = await tls_pair()
    raw = server.transport_stream.socket
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    with pytest.raises(StreamLost):
        while True:
            await stream.send(b"x" * 65536)
    stream.end_writing()
    stream.close()


class Names(trio.abc.HostnameResolver):
    """Every name has these addresses."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self._addresses = addresses

    async def getaddrinfo(
        self, host: object, port: object, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in self._addresses]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_is_good_when_one_of_its_addresses_is() -> None:
    """ "localhost" is ::1 first, and many a legacy server listens on 127.0.0.1 only."""
    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as server:
        closed.bind(("127.0.0.1", 0))
        trio.socket.set_custom_hostname_resolver(
            Names(closed.getsockname(), closed.getsockname(), server.getsockname())
        )
        stream = await connect(HostPort("legacy.example.net", 143))
        await connected(stream)
        assert stream.socket.getpeername() == server.getsockname()
        stream.close()


async def test_a_name_none_of_whose_addresses_is_good() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        trio.socket.set_custom_hostname_resolver(Names(closed.getsockname(), closed.getsockname()))
        stream = await connect(HostPort("legacy.example.net", 143))
        with pytest.raises(BackendFault, match="refused"):
            await connected(stream)
        stream.close()


async def test_cancelling_between_addresses_leaves_nothing_open() -> None:
    """The first address doesn't answer: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as fillers:
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        trio.socket.set_custom_hostname_resolver(Names(full.getsockname(), full.getsockname()))
        waits()  # which has a descriptor of its own
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a Path's listing is no shorter
        with trio.move_on_after(0.1) as scope:
            await connect(HostPort("legacy.example.net", 143))
        assert scope.cancelled_caught
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_an_end_right_behind_a_full_record_is_met_by_the_read_that_takes_it() -> None:
    """The socket won't tell of it again: a relay that isn't told here would wait for ever."""
    stream, server = await tls_pair()
    await server.send_all(bytes(RECORD))
    await trio.aclose_forcefully(server)
    buffer = memoryview(bytearray(4 * RECORD))
    while (count := stream.read_into(buffer)) == WOULD_BLOCK:
        await trio.lowlevel.wait_readable(stream.fd)
    assert count == RECORD
    assert stream.at_end
    stream.close()
