"""Deadlines of waits on sockets, by a virtual clock."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tlsgate.tls.stream import Expired, PlainStream


@pytest.fixture
def pair() -> Iterator[tuple[PlainStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = PlainStream(ours)
    with theirs:
        yield stream, theirs
        ours.close()


Pair = tuple[PlainStream, socket.socket]


async def test_a_wait_ends_at_its_deadline(pair: Pair, autojump_clock: MockClock) -> None:
    stream, _ = pair
    began = trio.current_time()
    stream.expires(began + 30)
    with pytest.raises(Expired):
        await stream.receive()
    assert began + 30 <= trio.current_time() < began + 30.3
    stream.close()


async def test_words_can_still_be_said_and_heard_behind_it(pair: Pair, autojump_clock: MockClock) -> None:
    stream, theirs = pair
    stream.expires(trio.current_time() + 1)
    with pytest.raises(Expired):
        await stream.receive()
    await stream.send(b"bye")
    assert theirs.recv(10) == b"bye"
    stream.expires(trio.current_time() + 1)
    theirs.send(b"still here")
    assert await stream.receive() == b"still here"
    stream.close()


async def test_a_wait_begun_after_its_deadline_ends_too(pair: Pair, autojump_clock: MockClock) -> None:
    """Nobody waited when the time was over: it must not be forgotten."""
    stream, _ = pair
    stream.expires(trio.current_time() + 1)
    await trio.sleep(10)
    began = trio.current_time()
    with pytest.raises(Expired):
        await stream.receive()
    assert trio.current_time() < began + 0.3
    stream.close()


async def test_a_deadline_moves_both_ways(pair: Pair, autojump_clock: MockClock) -> None:
    stream, _ = pair
    began = trio.current_time()
    stream.expires(began + 100)
    await wait_all_tasks_blocked()
    stream.expires(began + 5)
    with pytest.raises(Expired):
        await stream.receive()
    assert trio.current_time() < began + 5.3
    stream.expires(began + 50)
    with pytest.raises(Expired):
        await stream.receive()
    assert began + 50 <= trio.current_time() < began + 50.3
    stream.close()


async def test_no_deadline_is_no_end(pair: Pair, autojump_clock: MockClock) -> None:
    stream, theirs = pair
    stream.expires(trio.current_time() + 1)
    stream.expires(float("inf"))
    with trio.move_on_after(100) as scope:
        await stream.receive()
    assert scope.cancelled_caught
    theirs.send(b"x")
    assert await stream.receive() == b"x"
    stream.close()


async def test_the_next_owner_of_a_descriptor_has_time_of_its_own(autojump_clock: MockClock) -> None:
    """The kernel gives a closed descriptor's number to the next connection."""
    first, theirs = socket.socketpair()
    number = first.fileno()
    stream = PlainStream(first)
    stream.expires(trio.current_time() + 1)
    stream.close()
    second, others = socket.socketpair()
    assert number in (second.fileno(), others.fileno())
    with theirs, second, others:
        mine = second if second.fileno() == number else others
        mine.setblocking(False)
        with trio.move_on_after(100) as scope:
            await PlainStream(mine).receive()
        assert scope.cancelled_caught


async def test_deadlines_of_many_at_once(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    async def wait(stream: PlainStream, number: int) -> None:
        with pytest.raises(Expired):
            await stream.receive()
        ended.append(number)
        stream.close()

    peers = []
    async with trio.open_nursery() as nursery:
        for number in range(50):
            ours, theirs = socket.socketpair()
            peers.append(theirs)
            ours.setblocking(False)
            stream = PlainStream(ours)
            stream.expires(trio.current_time() + 50 - number)
            nursery.start_soon(wait, stream, number)
    assert ended == list(range(49, -1, -1))
    for theirs in peers:
        theirs.close()


async def test_a_stream_that_took_a_socket_over_clears_the_deadline_of_the_one_before(
    pair: Pair, autojump_clock: MockClock
) -> None:
    """As TLS does on a connection begun in clear."""
    stream, _ = pair
    stream.expires(trio.current_time() + 1)
    PlainStream(stream.socket).close()
    second, others = socket.socketpair()
    assert stream.fd in (second.fileno(), others.fileno())
    with second, others:
        mine = second if second.fileno() == stream.fd else others
        mine.setblocking(False)
        with trio.move_on_after(100) as scope:
            await PlainStream(mine).receive()
        assert scope.cancelled_caught


async def test_a_number_that_somebody_else_closed_and_reused_is_waited_for(pair: Pair) -> None:
    """The set of sockets still knows the number, the kernel no longer does: no wait may fail or hang for that."""
    stream, theirs = pair
    theirs.send(b"x")
    assert await stream.receive() == b"x"
    number = stream.fd
    stream.socket.close()
    second, others = socket.socketpair()
    assert number in (second.fileno(), others.fileno())
    with second, others:
        mine, peer = (second, others) if second.fileno() == number else (others, second)
        mine.setblocking(False)
        peer.send(b"y")
        with trio.fail_after(5):
            assert await PlainStream(mine).receive() == b"y"


async def test_a_cancelled_wait_leaves_the_socket_to_the_next(pair: Pair, autojump_clock: MockClock) -> None:
    stream, theirs = pair
    with trio.move_on_after(1) as scope:
        await stream.receive()
    assert scope.cancelled_caught
    theirs.send(b"x")
    assert await stream.receive() == b"x"
    stream.close()


async def test_one_socket_has_one_waiter(pair: Pair, autojump_clock: MockClock) -> None:
    """A second would make the first wait for ever."""
    stream, theirs = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.receive()
        theirs.send(b"x")
    stream.close()
