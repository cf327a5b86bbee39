"""Sessions from accept to close, over real sockets: per protocol and TLS mode, with legacy servers that misbehave.

``gate`` checks for each of them, when it ends, that what was counted is back at nothing, that every session has told
its end once, and that no secret was told.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.auth.attempts import RightHere
from tests.gate import SPEECH, Gate, gate, limits, pool_of, records
from tests.legacy_server import (
    SECRET,
    USER,
    LegacyServer,
    Script,
    Smtp,
    Talk,
    closing,
    imap,
    late,
    nonsense,
    pop3,
    resetting,
    saying,
    silent,
    slowly,
)
from tlsgate import config
from tlsgate.backends.pool import Pool
from tlsgate.config import BackendTls, HostPort, LoginMode, Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

PROTOCOLS = [Protocol.IMAP, Protocol.POP3, Protocol.SUBMISSION]
SCRIPTS: dict[Protocol, Script] = {Protocol.IMAP: imap, Protocol.POP3: pop3, Protocol.SUBMISSION: Smtp()}
SERVED = {Protocol.IMAP: b"x OK done NOOP", Protocol.POP3: b"+OK done x NOOP", Protocol.SUBMISSION: b"500 "}
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
each_mode = pytest.mark.parametrize("tls", list(TlsMode))
relayed_only = pytest.mark.parametrize("protocol", PROTOCOLS[:2])


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


async def serving(nursery: trio.Nursery, *scripts: Script) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve)
    return server


async def legacy(nursery: trio.Nursery, protocol: Protocol) -> LegacyServer:
    return await serving(nursery, SCRIPTS[protocol])


# -- the login -------------------------------------------------------------------------------------------


@each_protocol
@each_mode
async def test_a_right_login_is_served(nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address)) as running:
        client = await running.logged_in()
        assert (await client.ask(b"x NOOP")).startswith(SERVED[protocol])
        client.close()
        await running.quiet()
        (session,) = running.trace.sessions
        assert [name for name, _ in session.calls] == ["handshaken", "logged_in", "relaying", "relayed", "ended"]
        assert session.of("logged_in")[0][1:3] == (USER, str(server.address))
        assert session.end[0] == "ok"


@relayed_only
@each_mode
async def test_octets_pass_unchanged_both_ways(nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    async def echo(talk: Talk) -> None:
        await talk.say({Protocol.IMAP: b"* OK x\r\n", Protocol.POP3: b"+OK x\r\n"}[protocol])
        tag = (await talk.line()).split(b" ")[0]
        if protocol is Protocol.POP3:
            await talk.say(b"+OK\r\n")
            await talk.line()
        await talk.say(b"+OK in\r\n" if protocol is Protocol.POP3 else tag + b" OK in\r\n")
        while True:
            await talk.say(await talk.more())

    server = await serving(nursery, echo)
    sent = random.Random(7).randbytes(300_000) + b"\r\nend\r\n"
    async with gate(protocol, tls, pool_of(server.address)) as running:
        client = await running.logged_in()
        back = b""
        async with trio.open_nursery() as both:
            both.start_soon(client.send, sent)
            while not back.endswith(b"\r\nend\r\n"):
                back += await client.line() + b"\r\n"
        assert back == sent
        client.close()
        await running.quiet()
        up, down = running.trace.sessions[0].of("relayed")[0]
        assert up == len(sent)
        assert isinstance(down, int)
        assert len(sent) < down < len(sent) + 200


@each_protocol
@each_mode
async def test_wrong_then_right_on_one_connection(nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address)) as running:
        client = await running.secure()
        assert (await client.log_in("wrong")).startswith(client.speech.refused)
        assert (await client.log_in()).startswith(client.speech.granted)
        client.close()
        await running.quiet()
        (session,) = running.trace.sessions
        assert [values[1:] for values in session.of("auth_failed")] == [(USER, "authentication_failed")]
        assert not session.of("login_unavailable")


@each_protocol
async def test_auth_attempts_is_the_bound(nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), limits(auth_attempts=2)) as running:
        client = await running.secure()
        for _ in range(2):
            assert (await client.log_in("wrong")).startswith(client.speech.refused)
        assert (await client.line()).startswith(client.speech.ending)
        assert await client.ended()
        await running.quiet()
        assert len(server.talks) == 2
        assert running.trace.sessions[0].end == ("no_login", "auth_attempts")


@each_protocol
async def test_to_act_as_somebody_else_is_refused(nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        client = await running.secure()
        if protocol is Protocol.SUBMISSION:
            await client.ask(b"EHLO client.example")
        command = {Protocol.IMAP: b"a AUTHENTICATE PLAIN ", Protocol.POP3: b"AUTH PLAIN "}.get(protocol, b"AUTH PLAIN ")
        said = await client.ask(command + b"Ym9zcwBhbm4Ab3Blbg==")
        assert not said.startswith(client.speech.granted)
        assert not server.talks
        client.close()
        await running.quiet()
        assert running.trace.sessions[0].of("auth_failed")[0][1:] == (USER, "authorization_failed")


# -- backends that can't be used -------------------------------------------------------------------------

BAD: dict[str, Script] = {
    "closes": closing,
    "resets": resetting,
    "nonsense": nonsense,
    "silent": silent,
    "slow": slowly(imap, 0.5),
    "late": late(imap, 60.0),
}


@each_protocol
@pytest.mark.parametrize("kind", BAD)
async def test_an_unfit_backend_is_never_a_wrong_password(
    clock: MockClock, nursery: trio.Nursery, protocol: Protocol, kind: str
) -> None:
    """A client that is told its password is wrong throws it away, or asks its user again and again."""
    server = await serving(nursery, BAD[kind])
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        client = await running.secure()
        for _ in range(2):
            assert (await client.log_in()).startswith(client.speech.unavailable)
        client.close()
        await running.quiet()
        (session,) = running.trace.sessions
        assert len(session.of("login_unavailable")) == 2
        assert not session.of("auth_failed")
        assert len(records(running.pool).failures) == 2


@each_protocol
async def test_nobody_at_the_backend(nursery: trio.Nursery, protocol: Protocol) -> None:
    async with gate(protocol, TlsMode.STARTTLS, pool_of(HostPort("127.0.0.1", 1))) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.unavailable)
        assert records(running.pool).failures == ["connect"]


@each_protocol
async def test_a_backend_whose_starttls_was_stripped_gets_no_password(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    server = await serving(nursery, Smtp() if protocol is Protocol.SUBMISSION else no_tls(protocol))
    settings = config.Pool(backends=(config.Backend(address=server.address, tls=BackendTls.STARTTLS, verify=False),))
    plain = pool_of(server.address)
    trace = records(plain)
    pool = Pool("pool", settings, lambda _pool, _address: trace, connections=10)
    async with gate(protocol, TlsMode.IMPLICIT, pool) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.unavailable)
        await server.talks[0].cut.wait()
        assert USER.encode() not in server.talks[0].heard
        assert trace.failures == ["protocol"]


def no_tls(protocol: Protocol) -> Script:
    greeting = b"* OK [CAPABILITY IMAP4rev1] x\r\n" if protocol is Protocol.IMAP else b"+OK x\r\n"
    return saying(greeting, b"-ERR what?\r\n")


@each_protocol
async def test_a_login_fails_over_to_the_second_backend(nursery: trio.Nursery, protocol: Protocol) -> None:
    first, second = await serving(nursery, resetting), await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(first.address, second.address)) as running:
        client = await running.logged_in()
        client.close()
        await running.quiet()
        (session,) = running.trace.sessions
        assert session.of("logged_in")[0][2] == str(second.address)
        assert not session.of("login_unavailable")
        assert len(first.talks) == 1


@each_protocol
async def test_a_refusal_is_not_failed_over(nursery: trio.Nursery, protocol: Protocol) -> None:
    first, second = await legacy(nursery, protocol), await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(first.address, second.address)) as running:
        client = await running.secure()
        assert (await client.log_in("wrong")).startswith(client.speech.refused)
        assert not second.talks


REFUSING: dict[Protocol, tuple[Script, bytes]] = {
    Protocol.IMAP: (saying(b"* OK x\r\n", b"TAG NO [LIMIT] " + SECRET.encode() + b"\r\n"), b"a NO [LIMIT] "),
    Protocol.POP3: (saying(b"+OK x\r\n", b"+OK\r\n", b"-ERR [IN-USE] " + SECRET.encode() + b"\r\n"), b"-ERR [IN-USE] "),
    Protocol.SUBMISSION: (Smtp({b"AUTH": b"454 4.7.0 " + SECRET.encode() + b"\r\n"}), b"454 4.7.0 "),
}


@each_protocol
async def test_a_backends_own_reason_is_carried_but_no_password_that_it_repeats(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    """Some servers put what they were sent into their replies: the log must not have it."""
    script, said = REFUSING[protocol]
    server = await serving(nursery, script)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(said)
        client.close()
        await running.quiet()
        assert len(running.trace.sessions[0].of("login_unavailable")) == 1


# -- login = "none" --------------------------------------------------------------------------------------


async def test_a_trusting_backend_is_shown_no_password(nursery: trio.Nursery) -> None:
    server = await serving(nursery, Smtp(keywords=(b"SIZE",)))
    pool = pool_of(server.address, login=LoginMode.NONE)
    async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool, judge=RightHere(SECRET)) as running:
        client = await running.secure()
        assert (await client.log_in("wrong")).startswith(client.speech.refused)
        assert not server.talks
        assert (await client.log_in()).startswith(client.speech.granted)
        assert await client.ask(b"MAIL FROM:<a@example.org>") == b"250 2.0.0 Ok MAIL"
        client.close()
        await running.quiet()
        assert b"AUTH" not in server.talks[0].heard


async def test_without_a_source_that_checks_it_nobody_logs_in(nursery: trio.Nursery) -> None:
    """The backend would take mail from everybody: an open relay."""
    server = await serving(nursery, Smtp(keywords=(b"SIZE",)))
    async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool_of(server.address, login=LoginMode.NONE)) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.unavailable)
        assert not server.talks


# -- what is pipelined -----------------------------------------------------------------------------------


@relayed_only
@each_mode
async def test_what_is_pipelined_behind_a_login_arrives_once_and_in_order(
    nursery: trio.Nursery, protocol: Protocol, tls: TlsMode
) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address)) as running:
        client = await running.secure()
        commands = client.login_commands(SECRET) + [b"%d NOOP" % number for number in range(500)]
        await client.send(b"".join(command + b"\r\n" for command in commands))
        for _ in client.login_commands(SECRET):
            assert (await client.line()).startswith(client.speech.granted[:4].strip())
        for number in range(500):
            assert b"%d NOOP" % number in await client.line() or protocol is Protocol.IMAP
        client.close()
        await running.quiet()
        heard = bytes(server.talks[0].heard)
        behind = b"".join(b"%d NOOP\r\n" % number for number in range(500))
        assert heard.endswith(behind)
        assert heard.count(b" NOOP\r\n") == 500


@each_protocol
async def test_a_second_login_behind_a_failing_one_is_answered_in_order(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        client = await running.secure()
        wrong, right = client.login_commands("wrong"), client.login_commands(SECRET)
        await client.send(b"".join(command + b"\r\n" for command in wrong + right))
        replies = [await client.reply() for _ in wrong + right]
        assert replies[len(wrong) - 1].startswith(client.speech.refused)
        assert replies[-1].startswith(client.speech.granted)


# -- STARTTLS --------------------------------------------------------------------------------------------


@each_protocol
async def test_cleartext_credentials_are_refused_and_told(nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.STARTTLS, pool_of(server.address)) as running:
        client = await running.connect()
        await client.line()
        commands = client.login_commands(SECRET)
        replies = [await client.ask(command) for command in commands]
        assert replies[-1][:6].strip() in (b"a NO [", b"-ERR A", b"538 5."), replies
        client.close()
        await running.quiet()
        assert running.trace.sessions[0].of("cleartext_auth_refused")[0][1] == USER
        assert not server.talks


LEARNED = {
    Protocol.IMAP: (b'x ID ("name" "old")', b"a CAPABILITY", b"STARTTLS"),
    Protocol.POP3: (f"USER {USER}".encode(), f"PASS {SECRET}".encode(), b"+OK"),
    Protocol.SUBMISSION: (b"EHLO old.example", b"AUTH PLAIN AGFubgBvcGVu", b"235"),
}


@each_protocol
async def test_what_was_said_in_clear_is_forgotten(nursery: trio.Nursery, protocol: Protocol) -> None:
    """cases.md A14: an attacker on the path may have said it."""
    before, behind, forgotten = LEARNED[protocol]
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.STARTTLS, pool_of(server.address)) as running:
        client = await running.connect()
        await client.line()
        await client.ask(before)
        if protocol is Protocol.IMAP:
            await client.line()
        assert (await client.ask(client.speech.starttls)).startswith(client.speech.go)
        await client.start_tls()
        assert forgotten not in await client.ask(behind)
        assert not server.talks


@each_protocol
@pytest.mark.parametrize("pause", [False, True], ids=["one segment", "later segment"])
async def test_clear_text_behind_starttls_is_never_answered(
    nursery: trio.Nursery, protocol: Protocol, pause: bool
) -> None:
    """cases.md A1 to A4."""
    server = await legacy(nursery, protocol)
    injected = {Protocol.IMAP: b"b NOOP", Protocol.POP3: b"CAPA", Protocol.SUBMISSION: b"EHLO evil.example"}[protocol]
    async with gate(protocol, TlsMode.STARTTLS, pool_of(server.address)) as running:
        client = await running.connect()
        await client.line()
        if pause:
            assert (await client.ask(client.speech.starttls)).startswith(client.speech.go)
            await client.send(injected + b"\r\n")
        else:
            await client.send(client.speech.starttls + b"\r\n" + injected + b"\r\n")
        rest = b""
        while line := await client.line():
            rest += line + b"\n"
        assert b"NOOP" not in rest
        assert b"evil" not in rest
        assert b"UIDL" not in rest
        await running.quiet()
        result, reason = running.trace.sessions[0].end
        assert result == "handshake_failed" if pause else (result, reason) == ("no_login", "starttls_injection")


@each_protocol
async def test_an_injected_command_does_not_survive_a_handshake_either(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    """The client does its handshake; what was in clear before its ClientHello must break it."""
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.STARTTLS, pool_of(server.address)) as running:
        client = await running.connect()
        await client.line()
        await client.ask(client.speech.starttls)
        await client.send(b"NOOP\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await client.start_tls()
        await running.quiet()
        assert running.trace.sessions[0].of("handshake_failed")


# -- time ------------------------------------------------------------------------------------------------


@each_protocol
@each_mode
async def test_greeting_timeout(clock: MockClock, nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address), limits(greeting_timeout=20.0)) as running:
        client = await running.connect()
        if tls is TlsMode.STARTTLS:
            await client.line()
            assert (await client.line()).startswith(client.speech.ending)
        assert await client.ended()
        await running.quiet()
        assert 20.0 <= trio.current_time() - 0.0 < 1000
        assert running.trace.sessions[0].end == ("timeout", "greeting_timeout")


@each_protocol
async def test_a_handshake_that_stalls_is_cut_without_a_word(
    clock: MockClock, nursery: trio.Nursery, protocol: Protocol
) -> None:
    """Clear text in the middle of a handshake would be taken for a record, or for a reply."""
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.STARTTLS, pool_of(server.address), limits(greeting_timeout=20.0)) as running:
        client = await running.connect()
        await client.line()
        await client.ask(client.speech.starttls)
        await client.send(b"\x16\x03\x01\x02")
        assert await client.ended()
        await running.quiet()
        (session,) = running.trace.sessions
        assert session.end == ("timeout", "greeting_timeout")
        assert len(session.of("handshake_failed")) == 1


@each_protocol
@each_mode
async def test_login_timeout(clock: MockClock, nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    """It counts from the accept; commands don't extend it."""
    server = await legacy(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address), limits(login_timeout=40.0)) as running:
        began = trio.current_time()
        client = await running.secure()
        for _ in range(3):
            await trio.sleep(12)
            await client.ask(b"a NOOP")
        assert (await client.line()).startswith(client.speech.ending)
        assert await client.ended()
        assert 40.0 <= trio.current_time() - began < 45
        await running.quiet()
        assert running.trace.sessions[0].end == ("timeout", "login_timeout")


@each_protocol
async def test_idle_timeout(clock: MockClock, nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), limits(idle_timeout=1.0)) as running:
        client = await running.logged_in()
        last = b""
        while line := await client.line():
            last = line
        assert last == b"" if protocol is not Protocol.SUBMISSION else last.startswith(b"421 4.4.2 ")
        await running.quiet()
        assert running.trace.sessions[0].end == ("timeout", "idle_timeout")


@each_protocol
async def test_a_login_in_the_last_seconds_is_answered(
    clock: MockClock, nursery: trio.Nursery, protocol: Protocol
) -> None:
    """The backend is given up early enough for the client to hear why."""
    server = await serving(nursery, silent)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), limits(login_timeout=20.0)) as running:
        client = await running.secure()
        await trio.sleep(18)
        assert (await client.log_in()).startswith(client.speech.unavailable)
        assert (await client.line()).startswith(client.speech.ending)


# -- ends ------------------------------------------------------------------------------------------------


@each_protocol
async def test_shutdown_is_told_before_the_login_and_in_smtp_after_it(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        waiting, busy = await running.secure(), await running.logged_in()
        running.sessions.cancel_scope.cancel()
        assert (await waiting.line()).startswith(waiting.speech.ending)
        assert await waiting.ended()
        assert running.trace.sessions[0].end == ("shutdown", "shutdown")
        if protocol is Protocol.SUBMISSION:
            assert (await busy.line()).startswith(b"421 4.3.2 ")
            assert running.trace.sessions[1].end == ("shutdown", "shutdown")
        else:  # the pump has it: it goes on until the pump ends
            assert b"NOOP" in await busy.ask(b"b NOOP")
            running.pump.end_all("shutdown")
            assert running.trace.sessions[1].end == ("shutdown", "shutdown")


async def test_nothing_is_said_into_the_middle_of_a_reply(nursery: trio.Nursery) -> None:
    """The words of an ending there would be a part of the reply that a slow client has read half of."""
    server = await legacy(nursery, Protocol.IMAP)
    pool = pool_of(server.address)
    pool.backends[0].capabilities = tuple(f"X-WORD{number}" for number in range(1500))
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool) as running:
        running.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(running.address)
            client.setblocking(False)
            client.send(b"x CAPABILITY\r\n" * 190)
            await wait_all_tasks_blocked(0.05)
            seen = b""
            with suppress(BlockingIOError):  # there is room again, before the session has a turn
                while True:
                    seen += client.recv(65536)
            running.sessions.cancel_scope.cancel()
            await running.quiet()
            client.setblocking(True)
            while data := client.recv(65536):
                seen += data
        assert b"X-WORD" in seen
        assert b"BYE" not in seen
        assert not seen.endswith(b"\r\n")


@each_protocol
async def test_a_fault_in_one_session_touches_no_other(nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), fault_at="auth_failed") as running:
        faulty, other = await running.secure(), await running.logged_in()
        assert (await faulty.log_in("wrong")).startswith(faulty.speech.ending)
        assert await faulty.ended()
        result, reason = running.trace.sessions[0].end
        assert result == "fault"
        assert str(reason).startswith("RuntimeError in gate.py:")
        await other.ask(b"b NOOP")
        again = await running.logged_in()
        for client in (other, again):
            client.close()
        await running.quiet()


@each_protocol
@pytest.mark.parametrize("step", ["logged_in", "relaying"])
async def test_a_fault_between_login_and_relay_gives_the_backend_back(
    nursery: trio.Nursery, protocol: Protocol, step: str
) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address), fault_at=step) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.ending)
        await running.quiet()
        await server.talks[0].cut.wait()
        assert running.trace.sessions[0].end[0] == "fault"


@each_protocol
@pytest.mark.parametrize("cut", ["client closes", "client resets", "shutdown"])
async def test_a_session_cut_while_the_backend_thinks_leaves_nothing(
    nursery: trio.Nursery, protocol: Protocol, cut: str
) -> None:
    server = await serving(nursery, silent)
    pool = pool_of(server.address, connect_timeout=0.2)
    async with gate(protocol, TlsMode.IMPLICIT, pool) as running:
        client = await running.secure()
        for command in client.login_commands(SECRET):
            await client.send(command + b"\r\n")
        await server.called.wait()
        match cut:
            case "client closes":
                client.close()
            case "client resets":
                client.reset()
            case _:
                running.sessions.cancel_scope.cancel()
        await server.talks[0].cut.wait()
        await running.quiet()


@each_protocol
async def test_a_backend_that_dies_behind_the_login_ends_the_session(nursery: trio.Nursery, protocol: Protocol) -> None:
    server = await legacy(nursery, protocol)
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        client = await running.logged_in()
        server.talks[0].reset()
        if protocol is Protocol.SUBMISSION:  # no transaction is under way: a new connection serves as well
            assert (await client.ask(b"MAIL FROM:<a@example.org>")).startswith(b"250 ")
        else:
            assert await client.ended()
            await running.quiet()


# -- counters --------------------------------------------------------------------------------------------

End = Callable[[Gate, random.Random], Coroutine[Any, Any, None]]


async def _nothing(running: Gate, _dice: random.Random) -> None:
    (await running.connect()).close()


async def _garbage(running: Gate, dice: random.Random) -> None:
    client = await running.connect()
    await client.send(dice.randbytes(dice.randrange(1, 3000)))
    client.reset()


async def _half_a_handshake(running: Gate, dice: random.Random) -> None:
    client = await running.connect()
    with trio.move_on_after(dice.uniform(0, 0.004)):
        if running.tls is TlsMode.STARTTLS:
            await client.line()
            await client.ask(client.speech.starttls)
        await client.start_tls()
    client.close()


async def _only_a_handshake(running: Gate, dice: random.Random) -> None:
    client = await running.secure()
    dice.choice([client.close, client.reset])()


async def _a_wrong_login(running: Gate, dice: random.Random) -> None:
    client = await running.secure()
    assert (await client.log_in("wrong")).startswith(client.speech.refused)
    dice.choice([client.close, client.reset])()


async def _a_login_not_waited_for(running: Gate, dice: random.Random) -> None:
    client = await running.secure()
    await client.send(b"".join(command + b"\r\n" for command in client.login_commands(SECRET)))
    await trio.sleep(dice.uniform(0, 0.003))
    dice.choice([client.close, client.reset])()


async def _a_relay(running: Gate, dice: random.Random) -> None:
    client = await running.logged_in()
    for _ in range(dice.randrange(3)):
        await client.ask(b"a NOOP")
    dice.choice([client.close, client.reset])()


async def _a_part_of_a_message(running: Gate, dice: random.Random) -> None:
    client = await running.logged_in()
    text = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n"
    await client.send(text[: dice.randrange(len(text))])
    await trio.sleep(dice.uniform(0, 0.003))
    dice.choice([client.close, client.reset])()


ENDS: list[End] = [
    _nothing,
    _garbage,
    _half_a_handshake,
    _only_a_handshake,
    _a_wrong_login,
    _a_login_not_waited_for,
    _a_relay,
    _a_part_of_a_message,
]


@each_protocol
@each_mode
async def test_counters_are_exact_after_300_random_ends(
    nursery: trio.Nursery, protocol: Protocol, tls: TlsMode
) -> None:
    """A counter that drifts by one a session closes the gateway within a day."""
    server = await legacy(nursery, protocol)
    dice = random.Random(f"{protocol} {tls}")
    room = trio.CapacityLimiter(12)

    async def one(end: End, running: Gate) -> None:
        async with room:
            await end(running, random.Random(dice.random()))

    async with gate(protocol, tls, pool_of(server.address)) as running:
        async with trio.open_nursery() as clients:
            for _ in range(300):
                clients.start_soon(one, dice.choice(ENDS), running)
        await running.quiet()
        assert len(running.trace.sessions) == 300
        assert all(len(session.of("ended")) == 1 for session in running.trace.sessions)
        assert all(session.end[0] != "fault" for session in running.trace.sessions)
        client = await running.logged_in()
        client.close()
        await running.quiet()


def test_every_protocol_is_spoken() -> None:
    """Here, all that log in; ``test_mx_session`` has the other one."""
    assert set(SPEECH) - {Protocol.MX} == set(PROTOCOLS) == set(SCRIPTS) == set(Protocol) - {Protocol.MX}
