"""The pump moves every octet once and in order, holds little of it, and lets go of a session whole."""

from __future__ import annotations

import gc
import random
import socket
import weakref
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.relay.peers import End, Kind, Relay, Session
from tests.tls.peer import connected_pair
from tlsgate.relay import Pump, Relayed, Relaying, pump
from tlsgate.tls.stream import RECORD, PlainStream, TlsStream
from tlsgate.tls.waits import waits

KiB, MiB = 1 << 10, 1 << 20
READ = 256 * KiB
SMALL = 16 * KiB
"""For kernel buffers; Linux doubles it."""
KERNEL = 4 * 2 * SMALL
"""What the four socket buffers between a backend and a client hold then."""
COMBINATIONS = [
    (Kind.TLS, Kind.PLAIN),
    (Kind.TLS, Kind.BACKEND_TLS),
    (Kind.PLAIN, Kind.PLAIN),
    (Kind.PLAIN, Kind.BACKEND_TLS),
]
every_combination = pytest.mark.parametrize(
    ("client", "backend"), COMBINATIONS, ids=[f"{a.name}-{b.name}".lower() for a, b in COMBINATIONS]
)


async def _quiet() -> None:
    """Until nothing happens for a while. A pump that spins never lets this return."""
    with trio.fail_after(10):
        await wait_all_tasks_blocked(0.05)


async def _offer(end: End, most: int) -> int:
    """Send until the other side takes no more; gives how much it took."""
    chunk, taken = bytes(64 * KiB), 0
    while taken < most:
        try:
            taken += end.socket.send(chunk)
        except BlockingIOError:
            await _quiet()
            try:
                taken += end.socket.send(chunk)
            except BlockingIOError:
                return taken
    return taken


# -- octets ------------------------------------------------------------------------------------------


@every_combination
@pytest.mark.parametrize("seed", [1, 2])
async def test_random_data_in_random_pieces_arrives_unchanged_both_ways(
    relay: Relay, client: Kind, backend: Kind, seed: int
) -> None:
    chance = random.Random(seed)
    up, down = chance.randbytes(3 * MiB + 1), chance.randbytes(4 * MiB + 3)
    session = await relay.relayed(client, backend)

    async def send(end: End, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = chance.choice((1, 7, 100, 4096, RECORD - 1, RECORD, RECORD + 1, 100_000, 300_000))
            await end.send(data[at : at + size])
            at += size
            if chance.random() < 0.1:
                await trio.lowlevel.checkpoint()
        await end.end()

    received: dict[str, bytes] = {}

    async def receive(name: str, end: End) -> None:
        received[name] = await end.receive_all()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, session.client, up)
            nursery.start_soon(send, session.backend, down)
            nursery.start_soon(receive, "down", session.client)
            nursery.start_soon(receive, "up", session.backend)
    assert received["up"] == up
    assert received["down"] == down
    ended = await session.outcome()
    assert (ended.up, ended.down) == (len(up), len(down))
    relay.assert_empty()


async def test_what_was_read_before_the_hand_over_goes_first(relay: Relay) -> None:
    """A client may pipeline behind its login: part of that is with the dialogue, part still in the socket."""
    session = await relay.session()
    await session.client.send(b"c FETCH 1 BODY[]\r\n")
    await session.backend.send(b"* 1 EXISTS\r\n")
    relay.add(session, to_backend=b"b SELECT INBOX\r\n", to_client=b"a OK\r\n")
    with trio.fail_after(10):
        up = b"b SELECT INBOX\r\nc FETCH 1 BODY[]\r\n"
        assert await session.backend.receive_exactly(len(up)) == up
        assert await session.client.receive_exactly(18) == b"a OK\r\n* 1 EXISTS\r\n"
        await session.client.end()
        assert await session.backend.receive() == b""
        await session.backend.end()
    ended = await session.outcome()
    assert (ended.up, ended.down) == (len(up), 18)
    relay.assert_empty()


@every_combination
async def test_what_was_read_before_stays_first_when_there_is_no_room_for_it(
    relay: Relay, client: Kind, backend: Kind
) -> None:
    before, after = random.Random(3).randbytes(MiB), b"after" * 1000
    session = await relay.session(client, backend, buffers=(SMALL, SMALL))
    await session.client.send(after)
    await session.backend.send(after)
    relay.add(session, to_backend=before, to_client=before)
    await _quiet()
    with trio.fail_after(20):
        assert await session.client.receive_exactly(MiB + len(after)) == before + after
        assert await session.backend.receive_exactly(MiB + len(after)) == before + after


async def test_each_session_gets_its_own_octets(relay: Relay) -> None:
    """All share one buffer."""
    sessions = [await relay.relayed(buffers=(SMALL, SMALL)) for _ in range(8)]
    texts = [bytes([number]) * (300 * KiB + number) for number in range(8)]

    async def talk(session: Session, text: bytes) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.backend.send, text)
            nursery.start_soon(session.client.send, text)
            assert await session.client.receive_exactly(len(text)) == text
            assert await session.backend.receive_exactly(len(text)) == text

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for session, text in zip(sessions, texts, strict=True):
                nursery.start_soon(talk, session, text)
    assert len(relay.pump) == 8
    relay.pump.end_all("test")
    for session, text in zip(sessions, texts, strict=True):
        assert await session.outcome() == Relayed(len(text), len(text), "test")
    relay.assert_empty()


# -- back-pressure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [Kind.TLS, Kind.PLAIN])
async def test_a_client_that_stops_reading_stops_the_backend(relay: Relay, client: Kind) -> None:
    """One user's phone in a tunnel must not cost the memory of what it was about to read."""
    session = await relay.relayed(client, Kind.PLAIN, buffers=(SMALL, SMALL))
    taken = await _offer(session.backend, 64 * MiB)
    assert 0 < relay.pump.backlog <= READ
    assert taken <= READ + KERNEL
    await _quiet()
    with trio.fail_after(20):
        await session.client.receive_exactly(taken)
    await _quiet()
    assert relay.pump.backlog == 0
    await session.backend.send(b"more")
    with trio.fail_after(10):
        assert await session.client.receive_exactly(4) == b"more"
    session.client.close()
    session.backend.close()
    await session.outcome()
    relay.assert_empty()


async def test_a_backend_that_stops_reading_stops_the_client(relay: Relay) -> None:
    session = await relay.relayed(Kind.PLAIN, Kind.BACKEND_TLS, buffers=(SMALL, SMALL))
    taken = await _offer(session.client, 64 * MiB)
    assert 0 < relay.pump.backlog <= READ
    assert taken <= READ + KERNEL
    with trio.fail_after(20):
        await session.backend.receive_exactly(taken)
    await _quiet()
    assert relay.pump.backlog == 0


async def test_one_direction_held_up_lets_the_other_pass(relay: Relay) -> None:
    """A client that doesn't read its mail may still log out."""
    session = await relay.relayed(buffers=(SMALL, SMALL))
    await _offer(session.backend, 64 * MiB)
    await session.client.send(b"a LOGOUT\r\n")
    with trio.fail_after(10):
        assert await session.backend.receive_exactly(10) == b"a LOGOUT\r\n"


async def test_over_the_budget_a_stalled_session_holds_one_record(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of stalled clients with a full buffer each would be gigabytes."""
    monkeypatch.setattr(pump, "_BACKLOG_BUDGET", 2 * READ)
    sessions = [await relay.relayed(buffers=(SMALL, None)) for _ in range(8)]
    for session in sessions:
        assert await _offer(session.backend, MiB) == MiB
        await _quiet()
    assert 2 * READ <= relay.pump.backlog <= 3 * READ + 6 * RECORD
    for session in sessions:
        session.backend.reset()
    relay.pump.end_all("test")
    relay.assert_empty()


# -- ends --------------------------------------------------------------------------------------------


@every_combination
async def test_a_half_close_is_carried_over_and_the_answer_still_comes(
    relay: Relay, client: Kind, backend: Kind
) -> None:
    session = await relay.relayed(client, backend)
    with trio.fail_after(10):
        await session.client.send(b"a LOGOUT\r\n")
        await session.client.end(whole=client is Kind.PLAIN)
        assert await session.backend.receive_all() == b"a LOGOUT\r\n"
        await _quiet()
        assert not session.ends
        await session.backend.send(b"* BYE\r\n")
        await session.backend.end()
        assert await session.client.receive_all() == b"* BYE\r\n"
    assert await session.outcome() == Relayed(10, 7, "backend closed")
    relay.assert_empty()


@every_combination
async def test_a_half_close_of_the_backends_is_carried_over(relay: Relay, client: Kind, backend: Kind) -> None:
    session = await relay.relayed(client, backend)
    with trio.fail_after(10):
        await session.backend.send(b"* BYE\r\n")
        await session.backend.end(whole=backend is Kind.PLAIN)
        assert await session.client.receive_all() == b"* BYE\r\n"
        await _quiet()
        assert not session.ends
        await session.client.send(b"a NOOP\r\n")
        await session.client.end()
        assert await session.backend.receive_all() == b"a NOOP\r\n"
    assert await session.outcome() == Relayed(8, 7, "client closed")
    relay.assert_empty()


@pytest.mark.parametrize("kind", [Kind.TLS, Kind.PLAIN])
async def test_a_clients_end_right_behind_full_records_is_carried_over(relay: Relay, kind: Kind) -> None:
    """TLS meets both in one read, and no event of the socket tells of the end: the session would hang half-open."""
    session = await relay.session(client=kind)
    await session.client.send(bytes(RECORD))
    await session.client.end(whole=kind is Kind.PLAIN)
    relay.add(session)
    with trio.fail_after(3):
        assert len(await session.backend.receive_all()) == RECORD
        await session.backend.end()
    assert (await session.outcome()).up == RECORD


async def test_a_clients_end_behind_records_that_find_no_room_is_carried_over_after_them(relay: Relay) -> None:
    session = await relay.session(buffers=(None, 2048))
    await session.client.send(bytes(3 * RECORD))
    await session.client.end(whole=False)
    relay.add(session)
    await _quiet()
    assert relay.pump.backlog
    with trio.fail_after(10):
        assert len(await session.backend.receive_all()) == 3 * RECORD
        await session.backend.end()
    assert (await session.outcome()).up == 3 * RECORD


@pytest.mark.parametrize(
    "kind",
    [
        Kind.PLAIN,
        Kind.BACKEND_TLS,
    ],
)
async def test_a_backends_end_right_behind_full_records_is_carried_over(relay: Relay, kind: Kind) -> None:
    """The same the other way round."""
    session = await relay.session(backend=kind)
    await session.backend.send(bytes(RECORD))
    await session.backend.end(whole=kind is Kind.PLAIN)
    relay.add(session)
    with trio.fail_after(3):
        assert len(await session.client.receive_all()) == RECORD


async def test_an_end_waits_for_the_octets_before_it(relay: Relay) -> None:
    """A backend that sends a large message and goes at once, to a client that is slow."""
    session = await relay.relayed(buffers=(SMALL, SMALL))
    text = random.Random(4).randbytes(READ)

    async def send() -> None:
        await session.backend.send(text)
        session.backend.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await _quiet()
        with trio.fail_after(20):
            assert await session.client.receive_all() == text
    await session.client.end()
    assert await session.outcome() == Relayed(0, len(text), "client closed")
    relay.assert_empty()


class _Crowded(PlainStream):
    """A stream that has no room for its end at the first try, as TLS on a full socket has none for close_notify."""

    __slots__ = ()

    def end_writing(self) -> None:
        if self.end_due:
            self.end_due = False
            super().end_writing()
        else:
            self.end_due = True


async def test_an_end_without_room_is_told_as_soon_as_there_is(relay: Relay) -> None:
    """Else the client waits for an end that was dropped until the session's idle timeout."""
    session = await relay.session(Kind.PLAIN)
    session.streams = (_Crowded(session.streams[0].socket), session.streams[1])
    relay.add(session)
    await session.backend.send(b"* BYE\r\n")
    await session.backend.end()
    with trio.fail_after(10):
        assert await session.client.receive_all() == b"* BYE\r\n"
    await _quiet()
    await session.client.send(b"late")
    await session.client.end()
    assert await session.outcome() == Relayed(4, 7, "client closed")


# A TLS backend's reset is the next test's: the standard library reads it as an end.
@pytest.mark.parametrize(
    ("client", "backend", "who"),
    [(*kinds, "client") for kinds in COMBINATIONS]
    + [(*kinds, "backend") for kinds in COMBINATIONS if kinds[1] is Kind.PLAIN],
)
async def test_a_reset_ends_the_session_at_once(relay: Relay, client: Kind, backend: Kind, who: str) -> None:
    session = await relay.relayed(client, backend)
    gone, left = (session.client, session.backend) if who == "client" else (session.backend, session.client)
    await left.send(b"hello")
    await gone.receive_exactly(5)
    gone.reset()
    ended = await session.outcome()
    assert "reset" in ended.reason.lower()
    assert ended.up + ended.down == 5
    with trio.fail_after(10):
        assert await left.receive() == b""
    relay.assert_empty()


async def test_a_tls_backends_reset_is_told_to_the_client_as_an_end(relay: Relay) -> None:
    session = await relay.relayed(Kind.TLS, Kind.BACKEND_TLS)
    session.backend.reset()
    with trio.fail_after(10):
        assert await session.client.receive() == b""
    session.client.close()
    await session.outcome()
    relay.assert_empty()


async def test_a_client_that_is_gone_with_octets_on_the_way_to_it(relay: Relay) -> None:
    session = await relay.relayed(buffers=(SMALL, SMALL))
    await _offer(session.backend, MiB)
    assert relay.pump.backlog
    session.client.reset()
    await session.outcome()
    relay.assert_empty()


async def test_a_session_cut_off_with_octets_on_the_way_looks_cut_off(relay: Relay) -> None:
    """close_notify there would tell the client that it has got everything."""
    session = await relay.relayed(buffers=(SMALL, SMALL))
    await _offer(session.backend, MiB)
    session.backend.reset()
    relay.pump.end_all("test")
    await session.outcome()
    with pytest.raises(Exception, match="EOF"), trio.fail_after(10):
        await session.client.receive_all()
    relay.assert_empty()


async def test_end_all_ends_every_session_once_and_tells_the_clients(relay: Relay) -> None:
    sessions = [await relay.relayed(client, backend) for client, backend in COMBINATIONS]
    assert len(relay.pump) == relay.watched() / 2 == len(sessions)
    relay.pump.end_all("drained")
    relay.pump.end_all("again")
    for session in sessions:
        assert await session.outcome() == Relayed(0, 0, "drained")
        with trio.fail_after(10):
            assert await session.client.receive() == b""
    relay.assert_empty()


def _relaying(relay: Relay, session: Session) -> Relaying:
    (found,) = [each for each in relay.pump.sessions() if each.about is session]
    return found


async def test_octets_of_sessions_that_live_are_known(relay: Relay) -> None:
    one, other = await relay.relayed(), await relay.relayed()
    await one.client.send(b"a NOOP\r\n")
    assert await one.backend.receive_exactly(8) == b"a NOOP\r\n"
    await one.backend.send(b"a OK\r\n")
    assert await one.client.receive_exactly(6) == b"a OK\r\n"
    assert [_relaying(relay, each).octets for each in (one, other)] == [(8, 6), (0, 0)]


async def test_who_is_dismissed_is_told_in_a_quiet_moment(mock_clock: MockClock, relay: Relay) -> None:
    """Right behind an octet an answer may be on its way: then the line would be taken for a part of it."""
    session = await relay.session()
    relay.add(session, farewell=b"* BYE\r\n")
    relaying = _relaying(relay, session)
    await session.backend.send(b"* 1 EXISTS\r\n")
    assert await session.client.receive_exactly(12) == b"* 1 EXISTS\r\n"
    relay.pump.dismiss(relaying, at_once=False)
    assert not session.ends
    mock_clock.jump(0.25)
    relay.pump.dismiss(relaying, at_once=False)
    assert await session.client.receive_all() == b"* BYE\r\n"
    assert await session.backend.receive() == b""
    assert (await session.outcome()).reason == "kicked"
    relay.pump.dismiss(relaying, at_once=True)  # who has ended meanwhile
    assert len(session.ends) == 1
    relay.assert_empty()


@pytest.mark.parametrize("said", [b"* 1 FETCH (BODY[] {9}\r\nha", b"+", b"a"])
async def test_who_is_dismissed_within_a_line_is_told_nothing(mock_clock: MockClock, relay: Relay, said: bytes) -> None:
    session = await relay.session()
    relay.add(session, farewell=b"* BYE\r\n")
    await session.backend.send(said)
    assert await session.client.receive_exactly(len(said)) == said
    mock_clock.jump(0.25)
    relay.pump.dismiss(_relaying(relay, session), at_once=True)
    assert await session.client.receive_all() == b""
    relay.assert_empty()


async def test_who_is_dismissed_with_octets_on_the_way_to_it_gets_no_line_behind_them(
    mock_clock: MockClock, relay: Relay
) -> None:
    """They would be a part of what was cut off."""
    session = await relay.session(Kind.PLAIN, buffers=(SMALL, SMALL))
    relay.add(session, to_client=bytes(MiB) + b"\r\n", farewell=b"* BYE\r\n")
    mock_clock.jump(0.25)
    assert relay.pump.backlog
    relay.pump.dismiss(_relaying(relay, session), at_once=True)
    assert b"BYE" not in await session.client.receive_all()
    relay.assert_empty()


async def test_who_has_no_farewell_is_dismissed_without_waiting(relay: Relay) -> None:
    session = await relay.relayed()
    await session.backend.send(b"+OK\r\n")
    assert await session.client.receive_exactly(5) == b"+OK\r\n"
    relay.pump.dismiss(_relaying(relay, session), at_once=False)
    assert await session.client.receive_all() == b""


async def test_a_pump_that_is_cancelled_ends_its_sessions_and_takes_no_more(tmp_path: Path) -> None:
    """A login may finish in the moment of the shutdown: its session must not be left without an end."""
    relay = Relay(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.pump.run)
        session, late = await relay.relayed(), await relay.session()
        nursery.cancel_scope.cancel()
    assert await session.outcome() == Relayed(0, 0, "shutdown")
    relay.add(late, to_backend=b"x")
    assert (await late.outcome()).reason == "shutdown"
    assert len(relay.pump) == relay.pump.backlog == 0
    relay.close()


# -- time --------------------------------------------------------------------------------------------


async def _pass(clock: MockClock, seconds: float) -> None:
    """Let virtual time pass, in steps that the pump's own timer notices."""
    for _ in range(10):
        clock.jump(seconds / 10)
        await wait_all_tasks_blocked()


async def test_only_silence_ends_a_session(mock_clock: MockClock, relay: Relay) -> None:
    silent, from_client, from_backend = [await relay.relayed(idle=60) for _ in range(3)]
    for _ in range(4):
        await _pass(mock_clock, 40)
        await from_client.client.send(b"a NOOP\r\n")
        await from_backend.backend.send(b"* 1 EXISTS\r\n")
        await wait_all_tasks_blocked()
    assert await silent.outcome() == Relayed(0, 0, "idle_timeout")
    assert await silent.client.receive() == b""
    assert len(relay.pump) == 2
    await _pass(mock_clock, 70)
    assert await from_client.outcome() == Relayed(32, 0, "idle_timeout")
    assert await from_backend.outcome() == Relayed(0, 48, "idle_timeout")
    relay.assert_empty()


async def test_a_silent_session_ends_neither_early_nor_late(mock_clock: MockClock, relay: Relay) -> None:
    session = await relay.relayed(idle=60)
    await wait_all_tasks_blocked()
    await _pass(mock_clock, 59.9)
    assert not session.ends
    await _pass(mock_clock, 6.2)
    assert session.ends


async def test_a_short_timeout_holds_though_the_timer_had_lain_down_for_longer(
    mock_clock: MockClock, relay: Relay
) -> None:
    """The first session on an idle gateway finds a timer that sleeps for its longest."""
    await relay.relayed(idle=1800)
    await wait_all_tasks_blocked()
    session = await relay.relayed(idle=1)
    await wait_all_tasks_blocked()
    mock_clock.jump(1.3)
    await wait_all_tasks_blocked()
    mock_clock.jump(0.3)
    await wait_all_tasks_blocked()
    assert [ended.reason for ended in session.ends] == ["idle_timeout"]


async def test_a_stalled_client_ends_by_idle_timeout(mock_clock: MockClock, relay: Relay) -> None:
    """Not reading is a cheap way to hold a buffer of ours."""
    session = await relay.relayed(buffers=(SMALL, SMALL), idle=60)
    await _offer(session.backend, MiB)
    await _pass(mock_clock, 70)
    assert (await session.outcome()).reason == "idle_timeout"
    relay.assert_empty()


async def test_a_half_closed_session_ends_by_idle_timeout(mock_clock: MockClock, relay: Relay) -> None:
    session = await relay.relayed(idle=60)
    await session.client.end()
    await _pass(mock_clock, 70)
    assert (await session.outcome()).reason == "idle_timeout"
    relay.assert_empty()


# -- cost --------------------------------------------------------------------------------------------


async def test_no_state_of_an_idle_session_spins(relay: Relay) -> None:
    """A hang-up is an event that stays: a leg that it wakes for nothing costs a whole core."""
    kinds = [(client, backend) for client, backend in COMBINATIONS]
    for client, backend in kinds:
        whole = await relay.relayed(client, backend)
        await _quiet()
        half = await relay.relayed(client, backend)
        await half.client.end()
        await _quiet()
        other_half = await relay.relayed(client, backend)
        await other_half.backend.end()
        await _quiet()
        gone = await relay.relayed(client, backend)
        gone.backend.close()
        await _quiet()
        for session in (whole, half, other_half, gone):
            assert not session.ends
    stalled = await relay.relayed(buffers=(SMALL, SMALL))
    await _offer(stalled.backend, MiB)
    await _quiet()
    stalled.backend.close()
    await _quiet()
    await stalled.client.end()
    await _quiet()
    assert not stalled.ends
    assert len(relay.pump) == 4 * len(kinds) + 1


# -- faults ------------------------------------------------------------------------------------------


class _Faulty(PlainStream):
    """A stream with a bug in it."""

    __slots__ = ("broken",)

    def __init__(self, connected: socket.socket, broken: str) -> None:
        super().__init__(connected)
        self.broken = broken

    def read_into(self, buffer: memoryview) -> int:
        if self.broken == "read":
            raise RuntimeError("password")
        return super().read_into(buffer)

    def write(self, data: memoryview) -> int:
        if self.broken == "write":
            raise RuntimeError("password")
        return super().write(data)


@pytest.mark.parametrize(("broken", "when"), [("write", "at once"), ("read", "later"), ("write", "later")])
async def test_a_fault_in_one_session_ends_that_one(relay: Relay, broken: str, when: str) -> None:
    neighbour = await relay.relayed()
    session = await relay.session(Kind.PLAIN)
    faulty = _Faulty(session.streams[0].socket, broken if when == "at once" else "")
    session.streams = (faulty, session.streams[1])
    relay.add(session, to_client=b"a OK\r\n")
    faulty.broken = broken
    if when == "later":
        await session.client.send(b"x")
        await session.backend.send(b"x")
    ended = await session.outcome()
    assert ended.reason == "fault: RuntimeError"
    with trio.fail_after(10):
        await neighbour.client.send(b"a NOOP\r\n")
        assert await neighbour.backend.receive_exactly(8) == b"a NOOP\r\n"
    assert len(relay.pump) == 1


async def test_an_ended_session_holds_no_tls_memory(relay: Relay) -> None:
    """Its legs refer to each other: if they kept OpenSSL's, ended sessions would pile up until a full collection."""
    session = await relay.relayed(Kind.TLS, Kind.BACKEND_TLS)
    stream = session.streams[0]
    assert isinstance(stream, TlsStream)
    connection = weakref.ref(stream.connection)
    del stream
    gc.disable()
    try:
        session.client.close()
        session.backend.close()
        await session.outcome()
        assert connection() is None
    finally:
        gc.enable()


async def test_both_ends_of_many_sessions_gone_in_one_batch_of_events(relay: Relay) -> None:
    """The first event of a session ends it; the second is for a descriptor that isn't ours any more."""
    sessions = [await relay.relayed(Kind.PLAIN, Kind.PLAIN) for _ in range(60)]
    for session in sessions:
        session.client.reset()
        session.backend.reset()
    for session in sessions:
        await session.outcome()
    relay.assert_empty()


async def test_a_stale_event_for_a_descriptor_that_is_used_again(relay: Relay) -> None:
    """Sessions that begin as others end, within one batch of events, get their numbers and their leftover events."""
    ends: list[Relayed] = []
    new: list[tuple[socket.socket, socket.socket]] = []
    new_numbers: set[int] = set()
    new_ends: list[Relayed] = []

    def begin_another(ended: Relayed) -> None:
        ends.append(ended)
        (client, front), (backend, back) = connected_pair(), connected_pair()
        if len(ends) % 2:  # whether the pump had the even numbers or the odd ones
            client, front, backend, back = front, client, back, backend
        new.append((client, backend))
        new_numbers.update((front.fileno(), back.fileno()))
        relay.pump.add(
            PlainStream(front), PlainStream(back), to_backend=b"", to_client=b"", idle_timeout=9, on_end=new_ends.append
        )

    waits()  # takes a number that the sessions' mustn't wait for
    old = [await relay.session(Kind.PLAIN, Kind.PLAIN) for _ in range(20)]
    old_numbers = {stream.fd for session in old for stream in session.streams}
    for session in old:
        relay.add(session, on_end=begin_another)
        session.client.reset()
        session.backend.reset()
    await _quiet()
    assert len(ends) == len(new) == 20
    assert new_numbers & old_numbers, "no number was used again: this shows nothing"
    assert not new_ends
    for client, backend in new:
        client.send(b"hello")
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(backend)
        assert backend.recv(100) == b"hello"
        client.close()
        backend.close()
    await _quiet()
    assert len(new_ends) == 20
    relay.assert_empty()


def test_a_pump_needs_no_loop_to_be_made() -> None:
    """The gateway makes it before its loop runs."""
    assert len(Pump()) == 0
