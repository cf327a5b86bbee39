"""The relay stays for a moment when something was relayed: cheaper, and nobody else may have to wait for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio

from tests.relay.peers import Kind, Relay, Session
from tests.tls.peer import connected_pair
from tlsgate.relay import linger

ANSWERED = 300


class Waits(trio.abc.Instrument):
    """Counts how often trio itself waits."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


@contextmanager
def _talk(session: Session, times: int = 10**9) -> Iterator[threading.Thread]:
    """A client that sends a command and a backend that answers it, ``times`` or until the block ends."""
    for end in (session.client.socket, session.backend.socket):
        end.settimeout(10)
    over = threading.Event()

    def backend() -> None:
        while data := session.backend.socket.recv(100):
            session.backend.socket.sendall(data)
        session.backend.socket.shutdown(socket.SHUT_WR)

    def client() -> None:
        for _ in range(times):
            if over.is_set():
                break
            session.client.socket.sendall(b"NOOP\r\n")
            assert session.client.socket.recv(100) == b"NOOP\r\n"
        session.client.socket.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=each) for each in (backend, client)]
    for thread in threads:
        thread.start()
    try:
        yield threads[1]
    finally:
        over.set()


@asynccontextmanager
async def _talking(relay: Relay, times: int = 10**9) -> AsyncIterator[Session]:
    session = await relay.relayed(Kind.PLAIN, Kind.PLAIN)
    with _talk(session, times):
        yield session
    await session.outcome()


async def test_commands_and_their_answers_cost_no_turn_of_trios_loop_each(relay: Relay) -> None:
    """Two turns a command were a third of what relaying it took."""
    waits = Waits()
    trio.lowlevel.add_instrument(waits)
    async with _talking(relay, ANSWERED) as session:
        await session.outcome()
    assert waits.count < ANSWERED / 2


async def test_a_socket_that_others_wait_for_ends_the_stay(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login would otherwise wait until the mail of others is relayed."""
    monkeypatch.setattr(linger, "_TURN", 60.0)
    ours, theirs = connected_pair()
    with ours, theirs:
        async with _talking(relay):
            for _ in range(20):
                theirs.send(b"x")
                with trio.fail_after(5):
                    await trio.lowlevel.wait_readable(ours)
                ours.recv(1)
                await trio.sleep(0.002)


async def test_a_deadline_comes_while_the_relay_is_busy(relay: Relay) -> None:
    """Time-outs must hold however much is relayed; a stay ends soon enough for them."""
    async with _talking(relay):
        for _ in range(5):
            began = trio.current_time()
            await trio.sleep(0.1)
            assert trio.current_time() - began < 2


async def test_a_thread_is_heard_while_the_relay_is_busy(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are checked in threads, whose word ends the stay."""
    monkeypatch.setattr(linger, "_TURN", 60.0)
    async with _talking(relay):
        for number in range(20):
            with trio.fail_after(5):
                assert await trio.to_thread.run_sync(partial(abs, -number)) == number


async def test_who_is_told_of_an_end_within_the_stay_goes_on_at_once(relay: Relay) -> None:
    """What the end of a session sets free may be all that a task waits for; trio wouldn't look for a minute."""
    other = await relay.relayed(Kind.PLAIN, Kind.PLAIN)
    for _ in range(20):
        async with _talking(relay, 5):
            pass
    assert not other.ends


async def test_without_trios_own_set_it_relays_all_the_same(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its API promises nothing about it: another trio must cost time and no mail."""

    def gone() -> None:
        raise LookupError

    monkeypatch.setattr(linger, "_trios_epoll", gone)
    async with _talking(relay, 20) as session:
        assert (await session.outcome()).up == 20 * len(b"NOOP\r\n")


async def test_trio_is_as_it_is_known() -> None:
    """A new trio that hides its set would make relaying dearer, and nobody would know."""
    linger._trios_epoll()
