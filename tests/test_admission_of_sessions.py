"""Admission as clients meet it: sessions over real sockets, from several addresses of loopback.

``gate`` checks for each of them, when it ends, that every count is back at nothing.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from ipaddress import IPv4Network

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.gate import Client, Gate, gate, limits, pool_of, records
from tests.legacy_server import SECRET, USER, LegacyServer, Talk, silent
from tests.test_session import each_mode, each_protocol, legacy, serving
from tlsgate import config
from tlsgate.admission.network import parse_client, parse_network
from tlsgate.admission.rules import AddressRules, load_rules
from tlsgate.auth.attempt import Attempt
from tlsgate.config import HostPort, Protocol, TlsMode
from tlsgate.dialogue.events import Refusal, Refused

pytestmark = pytest.mark.timeout(60)

NOWHERE = HostPort("127.0.0.1", 1)
NO_RULES = AddressRules()
BLOCKED = load_rules(config.Admission(block=(IPv4Network("127.0.0.0/8"),)))
BOTH = load_rules(config.Admission(allow=(IPv4Network("127.0.0.2/32"),), block=(IPv4Network("127.0.0.0/8"),)))


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


class Guesser:
    """Guesses passwords at one address, a connection each. ``times``: how long each answer took."""

    def __init__(self, running: Gate, source: str = "127.0.0.1") -> None:
        self.times: list[float] = []
        self._running = running
        self._source = source

    async def guess(self, *secrets: str) -> None:
        for secret in secrets:
            client = await self._running.secure(source=self._source)
            if self._running.protocol is Protocol.SUBMISSION:
                await client.ask(b"EHLO client.example")
            began = trio.current_time()
            assert (await client.log_in(secret)).startswith(client.speech.refused)
            self.times.append(round(trio.current_time() - began))
            client.close()


def ending_of(protocol: Protocol, code: dict[Protocol, bytes]) -> bytes:
    return {Protocol.IMAP: b"* BYE [%s] ", Protocol.POP3: b"-ERR [%s] ", Protocol.SUBMISSION: b"%s "}[protocol] % (
        code[protocol]
    )


# -- refused at the door ---------------------------------------------------------------------------------

TEMPORARY = {Protocol.IMAP: b"LIMIT", Protocol.POP3: b"SYS/TEMP", Protocol.SUBMISSION: b"421 4.7.0"}
REFUSALS = {
    "over_network_cap": TEMPORARY,
    "over_rate": TEMPORARY,
    "banned": {**TEMPORARY, Protocol.IMAP: b"UNAVAILABLE"},
    "blocked": {Protocol.IMAP: b"CONTACTADMIN", Protocol.POP3: b"SYS/PERM", Protocol.SUBMISSION: b"554 5.7.1"},
}


@each_protocol
@each_mode
@pytest.mark.parametrize("result", REFUSALS)
async def test_each_refusal_is_cheap_and_in_the_protocols_words(protocol: Protocol, tls: TlsMode, result: str) -> None:
    """A client that is told "temporary" comes back; one that sees a broken connection shows its user an error."""
    bounds = limits(connections_per_network=1) if result == "over_network_cap" else limits()
    if result == "over_rate":
        bounds = msgspec.structs.replace(bounds, rate_per_network=config.Rate(1, 3600.0))
    rules = BLOCKED if result == "blocked" else NO_RULES
    async with gate(protocol, tls, pool_of(NOWHERE), bounds, rules=rules) as running:
        let_in = 0
        if result in ("over_network_cap", "over_rate"):
            await running.connect()
            let_in = 1
        if result == "banned":
            running.rooms.bans.add(parse_network("127.0.0.1")[0], 3600.0, "failed logins")
        client = await running.connect()
        if tls is TlsMode.STARTTLS:
            assert (await client.line()).startswith(ending_of(protocol, REFUSALS[result]))
        assert await client.ended()
        assert running.trace.refusals == [result]
        assert len(running.trace.sessions) == let_in
        assert "127.0.0." in running.trace.reasons[0]
        if result != "blocked":
            other = await running.connect(source="127.0.0.2")
            if tls is TlsMode.STARTTLS:
                assert (await other.line()).startswith(other.speech.greeting)
            with trio.fail_after(5):
                while len(running.trace.sessions) == let_in:  # noqa: ASYNC110 - the listener pauses behind a refusal
                    await trio.sleep(0.001)
            assert len(running.trace.sessions) == let_in + 1


async def test_an_exception_from_a_block_is_let_in() -> None:
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE), rules=BOTH) as running:
        client = await running.connect(source="127.0.0.2")
        assert (await client.line()).startswith(client.speech.greeting)
        assert not (await (await running.connect(source="127.0.0.3")).line()).startswith(client.speech.greeting)


# -- places of a user ------------------------------------------------------------------------------------


@each_protocol
async def test_a_user_has_so_many_places(nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    bounds = limits(connections_per_user=1)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), bounds, rules=NO_RULES) as running:
        first, second = await running.logged_in(), await running.secure(source="127.0.0.2")
        said = await second.log_in()
        assert not said.startswith((second.speech.granted, second.speech.refused))
        assert b"Too many connections" in said or b"too many connections" in said
        assert running.pool.backends[0].connections == 1
        session = running.trace.sessions[1]
        assert not session.of("auth_failed")  # the password was right: nothing to ban for
        assert len(session.of("login_unavailable")) == 1
        first.close()
        with trio.fail_after(5):
            while running.door.used > 1:
                running.ended = trio.Event()
                await running.ended.wait()
        assert running.rooms.store.used(f"user {USER}") == 0
        assert (await second.log_in()).startswith(second.speech.granted)


# -- handshakes ------------------------------------------------------------------------------------------


@each_mode
async def test_handshakes_beyond_the_limit_wait_for_their_turn(nursery: trio.Nursery, tls: TlsMode) -> None:
    server = await legacy(nursery, Protocol.IMAP)
    bounds = limits(handshakes=1)
    async with gate(Protocol.IMAP, tls, pool_of(server.address), bounds, rules=NO_RULES) as running:
        slow = await _at_handshake(running)
        await slow.send(HELLO)
        await wait_all_tasks_blocked(0.01)
        waiting = await _at_handshake(running)
        assert running.rooms.handshakes.used == 1
        greeted = trio.Event()

        async def go_on() -> None:
            await waiting.start_tls()
            assert (await waiting.log_in()).startswith(b"* OK " if tls is TlsMode.IMPLICIT else b"a OK ")
            greeted.set()

        nursery.start_soon(go_on)
        await wait_all_tasks_blocked()
        assert not greeted.is_set()
        slow.reset()
        with trio.fail_after(10):
            await greeted.wait()
        assert running.rooms.handshakes.used == 0


HELLO = b"\x16\x03\x01"  # how one begins


@each_mode
async def test_who_says_nothing_keeps_nobody_from_the_handshake(nursery: trio.Nursery, tls: TlsMode) -> None:
    """A few hundred silent connections would shut everybody out."""
    server = await legacy(nursery, Protocol.IMAP)
    async with gate(Protocol.IMAP, tls, pool_of(server.address), limits(handshakes=1), rules=NO_RULES) as running:
        for _ in range(5):
            await _at_handshake(running)
        assert running.rooms.handshakes.used == 0
        with trio.fail_after(5):
            await running.logged_in()


@each_mode
async def test_who_stalls_in_the_handshake_holds_its_place_for_seconds(
    clock: MockClock, nursery: trio.Nursery, tls: TlsMode
) -> None:
    server = await legacy(nursery, Protocol.IMAP)
    async with gate(Protocol.IMAP, tls, pool_of(server.address), limits(handshakes=1), rules=NO_RULES) as running:
        began = trio.current_time()
        slow = await _at_handshake(running)
        await slow.send(HELLO)
        assert await slow.ended()
        assert 10 <= trio.current_time() - began < 11
        assert running.rooms.handshakes.used == 0


async def _at_handshake(running: Gate) -> Client:
    client = await running.connect()
    if running.tls is TlsMode.STARTTLS:
        await client.line()
        await client.ask(client.speech.starttls)
    before = len(running.trace.sessions)
    await wait_all_tasks_blocked(0.01)
    assert len(running.trace.sessions) == max(before, 1)
    return client


@each_mode
async def test_who_waits_too_long_for_a_handshake_is_let_go(
    clock: MockClock, nursery: trio.Nursery, tls: TlsMode
) -> None:
    """Those who hold the places have the same bound: nobody keeps others out for longer than greeting_timeout."""
    server = await legacy(nursery, Protocol.IMAP)
    bounds = limits(handshakes=1, greeting_timeout=10.0)
    async with gate(Protocol.IMAP, tls, pool_of(server.address), bounds, rules=NO_RULES) as running:
        slow = await _at_handshake(running)
        await slow.send(HELLO)
        await wait_all_tasks_blocked(0.01)
        await trio.sleep(5)
        waiting = await _at_handshake(running)
        await waiting.send(HELLO)
        began = trio.current_time()
        assert await slow.ended()
        assert 4 < trio.current_time() - began < 6.5
        await wait_all_tasks_blocked(0.01)
        assert running.rooms.handshakes.used == 1  # the other's turn
        assert await waiting.ended()
        assert 9 < trio.current_time() - began < 11.5
        await running.quiet()
        assert [session.end for session in running.trace.sessions] == [("timeout", "greeting_timeout")] * 2


@each_mode
async def test_who_goes_away_while_waiting_for_a_handshake_keeps_nobody_out(
    clock: MockClock, nursery: trio.Nursery, tls: TlsMode
) -> None:
    server = await legacy(nursery, Protocol.IMAP)
    bounds = limits(handshakes=1, greeting_timeout=10.0)
    async with gate(Protocol.IMAP, tls, pool_of(server.address), bounds, rules=NO_RULES) as running:
        slow = await _at_handshake(running)
        await slow.send(HELLO)
        await wait_all_tasks_blocked(0.01)
        for _ in range(5):
            (await _at_handshake(running)).reset()
        slow.reset()
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.granted)
        client.close()
        await running.quiet()


@each_mode
async def test_a_shutdown_while_some_wait_for_a_handshake(tls: TlsMode) -> None:
    async with gate(Protocol.IMAP, tls, pool_of(NOWHERE), limits(handshakes=1), rules=NO_RULES) as running:
        for _ in range(3):
            await _at_handshake(running)
        running.sessions.cancel_scope.cancel()
        await running.quiet()


# -- delays ----------------------------------------------------------------------------------------------


@each_protocol
async def test_guesses_wait_longer_and_longer_and_end_in_a_ban(
    clock: MockClock, nursery: trio.Nursery, protocol: Protocol
) -> None:
    server = await legacy(nursery, protocol)
    bans = config.Bans(failures=7, duration=100.0)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES, bans=bans) as running:
        guesser, other = Guesser(running), Guesser(running, "127.0.0.2")
        await guesser.guess(*(f"guess {number}" for number in range(6)))
        await other.guess("wrong")
        assert running.trace.refusals == []
        await guesser.guess("the seventh")
        assert guesser.times == [0, 1, 2, 4, 8, 15, 15]
        assert other.times == [0]
        assert await (await running.connect()).ended()
        assert running.trace.refusals == ["banned"]
        (ban,) = running.rooms.told.banned_networks
        assert (ban.network, ban.until - ban.since) == ("127.0.0.1/32", 100.0)
        delays = [call[2] for session in running.trace.sessions for call in session.of("login_delayed")]
        assert delays == [1, 2, 4, 8, 15, 15]
        await trio.sleep(100)
        await guesser.guess("after the ban")
        assert guesser.times[-1] == 0


async def test_a_right_password_waits_too_and_is_served(clock: MockClock, nursery: trio.Nursery) -> None:
    """What the delay is must not depend on whether the guess is right: that would tell."""
    server = await legacy(nursery, Protocol.IMAP)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES) as running:
        await Guesser(running).guess("a", "b", "c")
        client = await running.secure()
        began = trio.current_time()
        assert (await client.log_in()).startswith(client.speech.granted)
        assert 3.9 < trio.current_time() - began < 6
        again = await running.secure()  # and from now on this network is known
        began = trio.current_time()
        assert (await again.log_in()).startswith(again.speech.granted)
        assert trio.current_time() - began < 1


async def test_a_phone_with_an_old_password_is_not_banned(clock: MockClock, nursery: trio.Nursery) -> None:
    server = await legacy(nursery, Protocol.IMAP)
    bans = config.Bans(failures=3)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES, bans=bans) as running:
        phone = Guesser(running)
        await phone.guess(*["the old one"] * 10)
        assert phone.times == [0] + [1] * 9
        assert not running.rooms.told.banned_networks


async def test_strangers_guesses_at_a_name_slow_nobody_who_is_known(clock: MockClock, nursery: trio.Nursery) -> None:
    server = await legacy(nursery, Protocol.IMAP)
    bans = config.Bans(user_failures=2)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES, bans=bans) as running:
        (await running.logged_in()).close()
        for number in range(3, 8):
            await Guesser(running, f"127.0.0.{number}").guess(f"guess {number}")
        stranger = Guesser(running, "127.0.0.99")
        await stranger.guess("one more")
        assert stranger.times == [8]
        assert not running.rooms.told.banned_networks
        client = await running.secure()
        began = trio.current_time()
        assert (await client.log_in()).startswith(client.speech.granted)
        assert trio.current_time() - began < 1


async def test_trusted_clients_are_neither_slowed_nor_banned(clock: MockClock, nursery: trio.Nursery) -> None:
    server = await legacy(nursery, Protocol.IMAP)
    bans = config.Bans(failures=2, user_failures=1)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), bans=bans) as running:
        webmail = Guesser(running)
        await webmail.guess("a", "b", "c", "d")
        assert webmail.times == [0] * 4
        assert not running.rooms.told.banned_networks


@each_protocol
@pytest.mark.parametrize("cut", ["closes", "resets", "shutdown"])
async def test_a_delayed_client_that_goes_away_leaves_nothing(
    clock: MockClock, nursery: trio.Nursery, protocol: Protocol, cut: str
) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES) as running:
        await Guesser(running).guess("a", "b", "c", "d")
        client = await running.secure()
        for command in client.login_commands("e"):
            await client.send(command + b"\r\n")
        while not running.trace.sessions[-1].of("login_delayed"):
            await wait_all_tasks_blocked(0.001)
        began = trio.current_time()
        match cut:
            case "closes":
                client.close()
            case "resets":
                client.reset()
            case _:
                running.sessions.cancel_scope.cancel()
        await running.quiet()
        assert trio.current_time() - began < (1 if cut == "shutdown" else 10)


async def test_a_delay_does_not_outlast_the_logins_time(clock: MockClock, nursery: trio.Nursery) -> None:
    """And what wasn't looked at is no failure of a backend."""
    server = await legacy(nursery, Protocol.IMAP)
    bounds = limits(login_timeout=5.0)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), bounds, rules=NO_RULES) as running:
        await Guesser(running).guess("a", "b", "c")
        before = len(server.talks)
        await Guesser(running).guess("d")
        client = await running.secure()
        began = trio.current_time()
        said = await client.log_in()
        seconds = trio.current_time() - began
        await running.quiet()
    session = running.trace.sessions[-1]
    assert said.startswith(b"* BYE ")
    assert 4.9 < seconds < 6.5
    assert session.end == ("timeout", "login_timeout")
    assert len(server.talks) == before + 1
    assert not session.of("login_unavailable")
    assert records(running.pool).failures == []


# -- bans ------------------------------------------------------------------------------------------------


@each_protocol
@each_mode
async def test_who_is_banned_meanwhile_is_ended_at_the_next_attempt(
    nursery: trio.Nursery, protocol: Protocol, tls: TlsMode
) -> None:
    """Else fifty connections opened before the ban would guess on behind it."""
    server = await legacy(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address), rules=NO_RULES) as running:
        relayed, waiting = await running.logged_in(), await running.secure()
        running.rooms.bans.add(parse_network("127.0.0.1")[0], 3600.0, "failed logins")
        talks = len(server.talks)
        assert (await waiting.log_in()).startswith(ending_of(protocol, REFUSALS["banned"]))
        assert await waiting.ended()
        assert len(server.talks) == talks
        session = running.trace.sessions[1]
        assert session.of("auth_failed") == [(session.of("auth_failed")[0][0], USER, "banned")]
        assert await relayed.ask(b"x NOOP")  # who was in before is served
        relayed.close()
        await running.quiet()
        assert session.end == ("no_login", "banned")


async def test_an_attempt_that_waits_when_the_ban_comes_is_not_looked_at(
    clock: MockClock, nursery: trio.Nursery
) -> None:
    """Fifty connections that wait side by side would have their fifty guesses answered after the ban."""
    server = await legacy(nursery, Protocol.IMAP)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES) as running:
        await Guesser(running).guess("a", "b", "c")
        client = await running.secure()
        talks = len(server.talks)
        await client.send(client.login_commands(SECRET)[0] + b"\r\n")
        while not running.trace.sessions[-1].of("login_delayed"):
            await wait_all_tasks_blocked(0.001)
        running.rooms.bans.add(parse_network("127.0.0.1")[0], 3600.0, "failed logins")
        said = await client.line()
    assert said.startswith(b"* BYE ")
    assert len(server.talks) == talks


# -- what counts -----------------------------------------------------------------------------------------


AUTH = {Protocol.IMAP: b"a AUTHENTICATE ", Protocol.POP3: b"AUTH ", Protocol.SUBMISSION: b"AUTH "}


async def failures_of(running: Gate) -> int:
    """How many failures are noted of 127.0.0.1, by what the next attempt there waits."""
    delay = await running.rooms.penalties.before_login(parse_client("127.0.0.1"), "somebody")
    if delay == 0.0:
        running.rooms.penalties.ended(parse_client("127.0.0.1"))
    return [0, 1, 2, 4, 8].index(int(delay or 0))


async def ready(running: Gate) -> Client:
    """A client that may log in."""
    client = await running.secure()
    if running.protocol is Protocol.SUBMISSION:
        await client.ask(b"EHLO client.example")
    return client


@each_protocol
async def test_a_mechanism_that_is_not_offered_counts(nursery: trio.Nursery, protocol: Protocol) -> None:
    """Who tries them is looking for one that is weak."""
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(NOWHERE), rules=NO_RULES) as running:
        client = await ready(running)
        await client.ask(AUTH[protocol] + b"CRAM-MD5")
        await client.ask(AUTH[protocol] + b"CRAM-MD5")
        assert await failures_of(running) == 1  # the same mistake again is a phone that has it saved


@each_protocol
async def test_a_login_in_clear_counts(protocol: Protocol) -> None:
    async with gate(protocol, TlsMode.STARTTLS, pool_of(NOWHERE), rules=NO_RULES) as running:
        client = await running.connect()
        await client.line()
        if protocol is Protocol.SUBMISSION:
            await client.ask(b"EHLO client.example")
        await client.ask(AUTH[protocol] + b"PLAIN " + base64.b64encode(b"\0ann\0guess"))
        assert await failures_of(running) == 1


@each_protocol
async def test_a_right_password_does_not_count(nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES) as running:
        for _ in range(3):
            (await running.logged_in()).close()
        assert await failures_of(running) == 0


@pytest.mark.parametrize(
    ("refusal", "counts"),
    [
        (Refusal.AUTHENTICATION_FAILED, 1),
        (Refusal.AUTHORIZATION_FAILED, 1),
        (Refusal.EXPIRED, 0),  # the secret was right
        (Refusal.UNAVAILABLE, 0),  # our own fault
        (Refusal.LIMIT, 0),
        (Refusal.IN_USE, 0),
        (Refusal.CONTACT_ADMIN, 0),
    ],
)
async def test_which_refusals_count(refusal: Refusal, counts: int) -> None:
    async def judge(_attempt: Attempt) -> Refused:
        return Refused(refusal)

    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(NOWHERE), rules=NO_RULES, judge=judge) as running:
        client = await running.secure()
        await client.log_in()
        assert await failures_of(running) == counts


async def test_a_backend_that_cannot_be_asked_does_not_count() -> None:
    """An outage would ban everybody who comes while it lasts."""
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(NOWHERE), rules=NO_RULES) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.unavailable)
        assert await failures_of(running) == 0


@each_protocol
async def test_a_login_that_the_client_cancelled_does_not_count(protocol: Protocol) -> None:
    """Nothing was guessed: a client cancels when its user closes the question for the password."""
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(NOWHERE), rules=NO_RULES) as running:
        client = await ready(running)
        await client.ask(AUTH[protocol] + b"PLAIN")
        await client.ask(b"*")
        counted = await failures_of(running)
    assert counted == 0


# -- faults ----------------------------------------------------------------------------------------------


@each_protocol
@pytest.mark.parametrize("step", ["handshaken", "auth_failed", "login_delayed", "logged_in", "relaying"])
async def test_a_fault_at_any_step_gives_everything_back(
    clock: MockClock, nursery: trio.Nursery, protocol: Protocol, step: str
) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES, fault_at=step) as running:
        client = await running.connect()
        with suppress(trio.BrokenResourceError, OSError, AssertionError):
            await client.start_tls()
            await client.line()
            await client.log_in("wrong")
            await client.log_in()
            await client.ask(b"x NOOP")
        client.close()
        await running.quiet()
        assert running.trace.sessions[0].of(step)


@each_protocol
async def test_a_handshake_cut_by_a_shutdown_gives_its_place_back(protocol: Protocol) -> None:
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(NOWHERE), rules=NO_RULES) as running:
        await running.connect(b"\x16\x03\x01")
        await wait_all_tasks_blocked(0.01)
        assert running.rooms.handshakes.used == 1
        running.sessions.cancel_scope.cancel()
        await running.quiet()


async def test_a_backend_that_hangs_keeps_its_places_no_longer_than_the_login(
    clock: MockClock, nursery: trio.Nursery
) -> None:
    server = await serving(nursery, silent)
    bounds = limits(login_timeout=8.0)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), bounds, rules=NO_RULES) as running:
        client = await running.secure()
        began = trio.current_time()
        await client.send(client.login_commands(SECRET)[0] + b"\r\n")
        while await client.line():
            pass
        assert trio.current_time() - began < 9
        await running.quiet()


# -- many at once ----------------------------------------------------------------------------------------


async def test_guesses_at_once_are_no_more_than_failures_are_left(clock: MockClock, nursery: trio.Nursery) -> None:
    """Who opens all connections that a network may have must not try a password on each before the first is judged."""
    server: LegacyServer = await nursery.start(LegacyServer(slow_refusal).serve)
    bans = config.Bans(failures=3)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), rules=NO_RULES, bans=bans) as running:
        clients = [await running.secure() for _ in range(12)]
        async with trio.open_nursery() as guessing:
            for number, client in enumerate(clients):
                guessing.start_soon(client.log_in, f"guess {number}")
        heard = sum(b"guess" in talk.heard for talk in server.talks)
        assert heard == 3
        assert len(running.rooms.bans) == 1
        for client in clients:
            client.close()
        await running.quiet()
        assert running.rooms.penalties._turns.under_way("127.0.0.1/32") == 0


async def slow_refusal(talk: Talk) -> None:
    """A server that takes a second to say no."""
    await talk.say(b"* OK ready\r\n")
    while True:
        tag = (await talk.line()).split(b" ")[0]
        await trio.sleep(1)
        await talk.say(tag + b" NO [AUTHENTICATIONFAILED] no\r\n")
