"""Streams: what a read gives at an end or a fault, what a write may leave for later, and what both cost others."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
from OpenSSL import SSL

from tests.tls.peer import Client, Visitor, connected_pair, meet
from tlsgate.tls import octets
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.stream import RECORD, WOULD_BLOCK, PlainStream, StreamLost, TlsStream, tls_reason

TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
TLS13 = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER with no time: a close sends RST."""


@pytest.fixture(params=["binding", "public"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to OpenSSL, which must behave the same."""
    if request.param == "binding":
        assert octets.read is not octets.public_read, "the binding isn't used any more: the fast way is lost"
    else:
        monkeypatch.setattr(octets, "read", octets.public_read)
        monkeypatch.setattr(octets, "write", octets.public_write)


@pytest.fixture(params=[TLS12, TLS13], ids=["tls12", "tls13"])
async def both(
    request: pytest.FixtureRequest, plain_contexts: ServerContexts, implementation: None
) -> AsyncIterator[tuple[Client, TlsStream]]:
    """A client and the stream of the gateway's side of its connection."""
    met = await meet(plain_contexts, Visitor(versions=request.param))
    if request.param is TLS13:
        await met.stream.send(b"x")
        await met.client.receive()  # and the tickets before it
    yield met.client, met.stream
    met.close()


async def _readable(stream: TlsStream | PlainStream) -> None:
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(stream.fd)


def _socket(client: Client) -> socket.socket:
    assert client.socket is not None
    return client.socket


# -- reading -----------------------------------------------------------------------------------------


async def test_one_read_takes_all_records_that_are_here(both: tuple[Client, TlsStream]) -> None:
    """A read for each record would cost the relay a third more."""
    client, stream = both
    sent = bytes(range(256)) * 256
    await client.send(sent)
    await _readable(stream)
    buffer = memoryview(bytearray(256 * 1024))
    assert stream.read_into(buffer) == len(sent)
    assert buffer[: len(sent)] == sent
    assert stream.read_into(buffer) == WOULD_BLOCK


async def test_a_read_is_never_told_an_end_for_want_of_room(both: tuple[Client, TlsStream]) -> None:
    client, stream = both
    await client.send(bytes(3 * RECORD))
    await _readable(stream)
    buffer = memoryview(bytearray(2 * RECORD))
    assert [stream.read_into(buffer), stream.read_into(buffer)] == [2 * RECORD, RECORD]


async def test_an_end_right_behind_full_records_is_not_lost(both: tuple[Client, TlsStream]) -> None:
    """OpenSSL has taken close_notify off the socket: no event will tell of it, and a session would hang half-open."""
    client, stream = both
    await client.send(bytes(RECORD))
    await client.end()
    await _readable(stream)
    buffer = memoryview(bytearray(256 * 1024))
    assert stream.read_into(buffer) == RECORD
    assert stream.at_end
    assert stream.read_into(buffer) == 0


async def test_an_end_behind_a_short_record_comes_with_the_next_read(both: tuple[Client, TlsStream]) -> None:
    client, stream = both
    await client.send(b"last")
    await client.end()
    with trio.fail_after(10):
        assert [await stream.receive(), await stream.receive(), await stream.receive()] == [b"last", b"", b""]


async def test_a_fault_right_behind_full_records_ends_the_stream(both: tuple[Client, TlsStream]) -> None:
    """The record that OpenSSL refused is gone from the socket: if the read told nobody, nothing ever would."""
    client, stream = both
    await client.send(bytes(RECORD))
    _socket(client).send(b"\x17\x03\x03\x00\x20" + bytes(32))
    await _readable(stream)
    assert stream.read_into(memoryview(bytearray(256 * 1024))) == RECORD
    assert stream.at_end


async def test_a_forged_record_is_a_fault(both: tuple[Client, TlsStream]) -> None:
    client, stream = both
    _socket(client).send(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(StreamLost) as raised, trio.fail_after(10):
        await stream.receive()
    assert raised.value.reason in ("decryption failed or bad record mac", "cipher operation failed")


async def test_a_client_that_ends_without_close_notify_still_gets_its_replies(both: tuple[Client, TlsStream]) -> None:
    """What ``printf 'a LOGOUT' | client`` does. OpenSSL alone calls it an attack and then refuses to write."""
    client, stream = both
    await client.send(b"a LOGOUT\r\n")
    _socket(client).shutdown(socket.SHUT_WR)
    with trio.fail_after(10):
        assert await stream.receive() == b"a LOGOUT\r\n"
        assert await stream.receive() == b""
        await stream.send(b"* BYE\r\n")
        stream.end_writing()
        assert await client.receive() == b"* BYE\r\n"
        assert await client.receive() == b""


async def test_a_client_that_ends_with_close_notify_still_gets_its_replies(both: tuple[Client, TlsStream]) -> None:
    client, stream = both
    await client.end()
    with trio.fail_after(10):
        assert await stream.receive() == b""
        await stream.send(b"* BYE\r\n")
        assert await client.receive() == b"* BYE\r\n"


async def test_a_reset_is_a_loss(both: tuple[Client, TlsStream]) -> None:
    client, stream = both
    _socket(client).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    with pytest.raises(StreamLost) as raised, trio.fail_after(10):
        await stream.receive()
    assert raised.value.reason == "econnreset"
    with pytest.raises(StreamLost):
        stream.write(memoryview(b"x"))
    stream.end_writing()


async def test_a_reset_is_a_loss_in_clear() -> None:
    near, far = connected_pair()
    stream = PlainStream(far)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    near.close()
    with pytest.raises(StreamLost) as raised, trio.fail_after(10):
        await stream.receive()
    assert raised.value.reason == "Connection reset by peer"
    with pytest.raises(StreamLost):
        stream.write(memoryview(b"x"))
    stream.end_writing()
    stream.close()


async def test_one_sessions_fault_does_not_show_in_another(plain_contexts: ServerContexts) -> None:
    """OpenSSL's queue of errors is the thread's: one left in it would be taken for the next connection's."""
    healthy = await meet(plain_contexts, Visitor())
    for fault in (b"\x17\x03\x03\x00\x20" + bytes(32), b"plain text", b"\x15\x03\x03\x00\x02\x02\x28"):
        met = await meet(plain_contexts, Visitor())
        _socket(met.client).send(fault)
        with pytest.raises(StreamLost), trio.fail_after(10):
            await met.stream.receive()
        with pytest.raises(StreamLost):
            met.stream.write(memoryview(b"x"))
        met.stream.end_writing()
        met.close()
        assert healthy.stream.read_into(memoryview(bytearray(RECORD))) == WOULD_BLOCK
        await healthy.client.send(b"still here")
        assert await healthy.stream.receive() == b"still here"
    healthy.close()


async def test_a_peer_that_always_has_data_leaves_the_others_their_turn() -> None:
    near, far = connected_pair()
    stream = PlainStream(far)
    near.send(bytes(RECORD) * 100)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(64):
            assert await stream.receive()
        assert turns >= 2
        nursery.cancel_scope.cancel()
    near.close()
    stream.close()


# -- writing -----------------------------------------------------------------------------------------


async def test_a_write_that_found_no_room_is_done_again_from_another_place(plain_contexts: ServerContexts) -> None:
    """The pump reads into one shared buffer and keeps a copy: OpenSSL must take the copy for the same write."""
    met = await meet(plain_contexts, Visitor())
    stream = met.stream
    sent = bytes(range(256)) * (64 * 1024)
    assert stream.write(memoryview(bytearray(sent))) == 0
    received = bytearray()

    async def read() -> None:
        while data := await met.client.receive():
            received.extend(data)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            while stream.write(memoryview(bytes(sent))) == 0:
                await trio.lowlevel.wait_writable(stream.fd)
            stream.end_writing()
    assert bytes(received) == sent
    met.close()


async def test_send_gives_all_of_it_to_a_slow_reader(both: tuple[Client, TlsStream]) -> None:
    client, stream = both
    sent = bytes(range(256)) * (16 * 1024)
    received = bytearray()

    async def read() -> None:
        while len(received) < len(sent):
            received.extend(await client.receive(1000))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send, sent)
            nursery.start_soon(read)
    assert bytes(received) == sent


async def test_an_end_that_finds_no_room_is_due_and_told_later(both: tuple[Client, TlsStream]) -> None:
    """A reader of a large message may be just that far behind; without this it would wait for the end for ever."""
    client, stream = both
    filled = 0
    try:
        while True:
            filled += stream.socket.send(bytes(4096))
    except BlockingIOError:
        pass
    stream.end_writing()
    assert stream.end_due
    received = b""
    with trio.fail_after(10):
        while len(received) < filled:
            await trio.lowlevel.wait_readable(_socket(client))
            received += _socket(client).recv(1 << 20)
        assert len(received) == filled
        await trio.lowlevel.wait_writable(stream.fd)
        stream.end_writing()
        assert not stream.end_due
        await trio.lowlevel.wait_readable(_socket(client))
    alert = _socket(client).recv(100)
    assert alert[0] in (21, 23)
    assert len(alert) < 40


async def test_an_end_behind_an_unfinished_write_is_not_put_into_its_middle(both: tuple[Client, TlsStream]) -> None:
    """A session that is cut off may look cut off, but never like a shorter message that is whole."""
    client, stream = both
    assert stream.write(memoryview(bytes(16 << 20))) == 0
    stream.end_writing()
    stream.close()
    with trio.fail_after(30):
        with pytest.raises(SSL.SysCallError):
            while await client.receive():
                pass


# -- reasons -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SSL.Error([("SSL routines", "", "wrong version number")]), "wrong version number"),
        (SSL.Error([("SSL routines", "", "first"), ("SSL routines", "", "second")]), "first"),
        (SSL.Error([("", "", "")]), "tls error"),
        (SSL.Error([]), "tls error"),
        (SSL.Error(), "tls error"),
        (SSL.SysCallError(104, "ECONNRESET"), "econnreset"),
        (SSL.SysCallError(-1, "Unexpected EOF"), "unexpected eof"),
        (SSL.SysCallError(9999, None), "tls error"),
    ],
)
def test_reasons(error: SSL.Error, reason: str) -> None:
    assert tls_reason(error) == reason
