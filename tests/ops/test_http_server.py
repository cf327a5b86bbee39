"""Connections to the admin address fail alone, are bounded, and don't keep it from ending."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
import trio
from hypercorn.trio.tcp_server import TCPServer

from tests.ops.admin_address import Admin, serving
from tlsgate.admission.bans import Ban
from tlsgate.ops.http_server import MOST_CONNECTIONS

# HTTP/2 by prior knowledge (RFC 9113 3.3): preface, empty SETTINGS; then HEADERS that end stream 1's request.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")


def http2_get(path: bytes) -> bytes:
    """GET by RFC 7541: :method GET and :scheme http indexed, :path and :authority as literals."""
    block = b"\x82\x86" + b"\x04" + bytes([len(path)]) + path + b"\x01\x09localhost"
    return _PREFACE + len(block).to_bytes(3) + bytes.fromhex("01 05 00000001") + block


async def exchange(port: int, sent: bytes) -> bytes:
    """What comes back, to an answer's end or the connection's."""
    got = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with trio.fail_after(10):
            await stream.send_all(sent)
            while not got.endswith(b"ok\n") and (piece := await stream.receive_some()):
                got += piece
    return got


@pytest.mark.parametrize("path", [b"/healthz", b"/\xff"])
async def test_http2_is_not_spoken_and_does_no_harm(path: bytes) -> None:
    """hypercorn's own server ends as a whole by the second path, before any token is asked for: no metrics, no bans."""
    async with serving() as admin:
        said = await exchange(admin.port, http2_get(path))
        assert said.startswith(b"HTTP/1.1 4")
        assert not said.endswith(b"ok\n")
        assert (await admin.ask("GET", "/healthz")).status == 200


async def test_an_upgrade_to_http2_is_ignored() -> None:
    """curl --http2 asks for one, and takes no for an answer."""
    asked = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    async with serving() as admin:
        said = await exchange(admin.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + asked + b"\r\n")
        assert said.startswith(b"HTTP/1.1 200 ")


async def test_a_fault_of_one_connection_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """hypercorn's own server ends with the first: no metrics, no bans any more."""

    async def fails(connection: TCPServer) -> None:
        raise RuntimeError(connection)

    async with serving() as admin:
        with monkeypatch.context() as broken:
            broken.setattr(TCPServer, "_read_data", fails)
            assert await exchange(admin.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
        assert (await admin.ask("GET", "/healthz")).status == 200


async def test_who_does_not_read_an_answer_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    """A hundred of them would leave nobody a connection, for as long as they like."""
    async with serving() as admin:
        bans = [Ban(f"{number >> 8}.{number & 255}.0.0/16", 0.0, 1e11, 1, "r" * 200) for number in range(60_000)]
        admin.bans.load(msgspec.json.encode(bans))
        stream = await trio.open_tcp_stream("127.0.0.1", admin.port)
        await stream.send_all(b"GET /api/bans HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await stream.receive_some(400)
        wanted = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await trio.sleep(60)
        got = 0
        with trio.fail_after(10):
            async for piece in stream:
                got += len(piece)
        assert got < wanted - 400  # who would be waited for would get the rest now
        await stream.aclose()


async def test_it_ends_though_a_client_does_not_read() -> None:
    """Who asks and doesn't read would keep the gateway from stopping."""
    with trio.fail_after(10):
        async with serving() as admin:
            # 20 MB: more than the kernel takes.
            bans = [Ban(f"{number >> 8}.{number & 255}.0.0/16", 0.0, 1e11, 1, "r" * 200) for number in range(60_000)]
            admin.bans.load(msgspec.json.encode(bans))
            stream = await trio.open_tcp_stream("127.0.0.1", admin.port)
            await stream.send_all(b"GET /api/bans HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some(12)).startswith(b"HTTP/1.1 200")
        await stream.aclose()


async def test_no_more_connections_than_the_gateway_can_spare() -> None:
    """Each takes a descriptor that a mail client could have had."""
    async with serving() as admin:
        held = [await trio.open_tcp_stream("127.0.0.1", admin.port) for _ in range(MOST_CONNECTIONS)]
        with trio.fail_after(10):
            one_more = await trio.open_tcp_stream("127.0.0.1", admin.port)
            assert await one_more.receive_some() == b""
            await one_more.aclose()
            for stream in held:
                await stream.aclose()
            while not await _answers(admin):  # the server needs a moment to see them go, but no time-out
                await trio.lowlevel.checkpoint()


async def _answers(admin: Admin) -> bool:
    try:
        return (await admin.ask("GET", "/healthz")).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX-Header: "])
async def test_who_never_finishes_a_request_is_cut_off(head: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as admin:
        stream = await trio.open_tcp_stream("127.0.0.1", admin.port)
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_trickle, stream, head)
            with suppress(trio.BrokenResourceError):
                async for _ in stream:
                    pass
            assert trio.current_time() - started < 30
            nursery.cancel_scope.cancel()
        await stream.aclose()


async def _trickle(stream: trio.SocketStream, head: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(head)
        while head.endswith(b" "):
            await trio.sleep(1)
            await stream.send_all(b"x")
