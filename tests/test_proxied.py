"""Reading a PROXY header off a socket: whole, within its time, and nothing of what is behind it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.proxy import LONGEST_PAYLOAD, ProxyHeader, proxy_v1, proxy_v2
from tlsgate.proxied import NoProxyHeader, take_header
from tlsgate.tls.waits import READABLE, waits

CLIENT, OURS = Endpoint(IPv4Address("203.0.113.7"), 4711), Endpoint(IPv4Address("192.0.2.1"), 993)
CLIENT6, OURS6 = Endpoint(IPv6Address("2001:db8::7"), 4711), Endpoint(IPv6Address("2001:db8::1"), 993)
HEADERS = [
    proxy_v1(CLIENT, OURS),
    proxy_v1(CLIENT6, OURS6),
    proxy_v2(CLIENT, OURS, b"id"),
    proxy_v2(CLIENT6, OURS6),
    proxy_v1(None, None),
    proxy_v2(None, None),
]
each_header = pytest.mark.parametrize("header", HEADERS, ids=["v1 4", "v1 6", "v2 4", "v2 6", "unknown", "local"])
BEHIND = b"\x16\x03\x01PROXY TCP4 "  # may begin as a header does, or as TLS

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.03)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The balancer's end and ours."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as far:
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near, _ = listening.accept()
        with near:
            near.setblocking(False)
            yield far, near


Pair = tuple[socket.socket, socket.socket]


async def taken_in_pieces(pair: Pair, pieces: list[bytes]) -> ProxyHeader:
    """The header, with each piece sent only when what came before it has been looked at."""
    far, near = pair
    found: list[ProxyHeader] = []

    async def take() -> None:
        found.append(await take_header(near, trio.current_time() + 5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        for piece in pieces:
            far.sendall(piece)
            await wait_all_tasks_blocked(0.001)
    return found[0]


def rest(near: socket.socket) -> bytes:
    near.setblocking(True)
    near.settimeout(5)
    return near.recv(65536)


@each_header
async def test_nothing_behind_it_is_taken_wherever_it_is_split(header: bytes) -> None:
    """An octet too many breaks the handshake behind it, one too few too."""
    for at in range(len(header) + 1):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.create_connection(listening.getsockname())
            near, _ = listening.accept()
        with far, near:
            near.setblocking(False)
            pieces = [piece for piece in (header[:at], header[at:] + BEHIND) if piece]
            found = await taken_in_pieces((far, near), pieces)
            assert found.taken == len(header)
            assert rest(near) == BEHIND


@each_header
async def test_octet_by_octet(pair: Pair, header: bytes) -> None:
    found = await taken_in_pieces(pair, [bytes([octet]) for octet in header + BEHIND])
    assert found.taken == len(header)
    assert rest(pair[1]) == BEHIND
    if len(header) > 20:
        assert found.source in (CLIENT, CLIENT6)


async def test_the_longest(pair: Pair) -> None:
    """Larger than one look is no header; as large as that is one."""
    longest = proxy_v2(None, None)[:12] + b"\x20\x00" + struct.pack(">H", LONGEST_PAYLOAD) + bytes(LONGEST_PAYLOAD)
    found = await taken_in_pieces(pair, [longest[:100], longest[100:3000], longest[3000:] + BEHIND])
    assert found.taken == len(longest)
    assert rest(pair[1]) == BEHIND


async def reason(pair: Pair, seconds: float = 5.0) -> str:
    with pytest.raises(NoProxyHeader) as caught:
        await take_header(pair[1], trio.current_time() + seconds)
    assert pair[1].fileno() >= 0
    return caught.value.reason


@pytest.mark.parametrize(
    "first", [b"", b"P", HEADERS[0][:-1], HEADERS[2][:15], HEADERS[2][:-1]], ids=["none", "1", "v1", "v2 15", "v2"]
)
async def test_silence_ends_at_the_deadline(clock: MockClock, pair: Pair, first: bytes) -> None:
    """Time passes here only while everybody waits: one that asks in a loop never gets there."""
    pair[0].sendall(first)
    began = trio.current_time()
    assert await reason(pair) == "no PROXY header in time"
    assert 5 <= trio.current_time() - began < 5.2


async def test_a_slow_one_ends_at_the_deadline(clock: MockClock, pair: Pair, nursery: trio.Nursery) -> None:
    """Each octet must not win it new time."""

    async def drip() -> None:
        for octet in HEADERS[0]:
            pair[0].sendall(bytes([octet]))
            await trio.sleep(1)

    nursery.start_soon(drip)
    began = trio.current_time()
    assert await reason(pair) == "no PROXY header in time"
    assert trio.current_time() - began < 5.2
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "first",
    [b"\x16\x03\x01\x02\x00", b"a LOGIN x y\r\n", b"PROXY TCP5 ", b"PROXY TCP4 x\r\n"],
    ids=["tls", "imap", "family", "address"],
)
async def test_what_is_none(pair: Pair, first: bytes) -> None:
    pair[0].sendall(first)
    assert "PROXY" in await reason(pair)


async def test_endless_ones(pair: Pair) -> None:
    pair[0].sendall(b"PROXY TCP4 " + b"1" * 200)
    assert "longer than" in await reason(pair)


async def test_an_end_within_it(pair: Pair) -> None:
    pair[0].sendall(HEADERS[0][:9])
    pair[0].shutdown(socket.SHUT_WR)
    assert "closed" in await reason(pair)


async def test_a_reset(pair: Pair) -> None:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair[0].close()
    assert "reset" in (await reason(pair)).lower()


async def test_its_time_is_over_when_it_is_there(clock: MockClock, pair: Pair) -> None:
    """What comes behind it has a time of its own."""
    pair[0].sendall(HEADERS[0])
    await take_header(pair[1], trio.current_time() + 5)
    with trio.move_on_after(20) as scope:
        await waits().wait(pair[1].fileno(), READABLE)
    assert scope.cancelled_caught
