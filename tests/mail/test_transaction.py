"""Mail transactions through the gate: what is said to the client is what the backend did.

A false 250 loses mail; a message that stands though its sender was refused is sent twice; two messages out of one are
smuggling.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.admission.look_ups import mx_screener
from tests.auth.attempts import RightHere
from tests.dns_server import DnsServer
from tests.gate import DEFAULTS, Client, Gate, gate, limits, pool_of
from tests.legacy_server import SECRET, LegacyServer, Script, Smtp, Talk, behind_trace, closing, resetting
from tests.mail.surbl.told import ZONE, Told
from tlsgate.admission.look_ups import Checks
from tlsgate.admission.rules import AddressRules
from tlsgate.config import Limits, LoginMode, Protocol, Screening, TlsMode
from tlsgate.mail.forged_results import MOST_HEADER
from tlsgate.mail.surbl import Links, Suffixes

pytestmark = pytest.mark.timeout(60)

MAIL = b"MAIL FROM:<ann@example.org>"
RCPT = b"RCPT TO:<bob@example.net>"
DOMAINS = ("example.net",)
BOTH = [Protocol.SUBMISSION, Protocol.MX]
BODY = b"Subject: one\r\n\r\nfirst line\r\n..stuffed\r\n"


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


Session = tuple[Client, LegacyServer, Gate]


@asynccontextmanager
async def submitting(nursery: trio.Nursery, *scripts: Script, bounds: Limits = DEFAULTS) -> AsyncIterator[Session]:
    """A client that is logged in, its backend, and the gate between them."""
    async with sending(nursery, Protocol.SUBMISSION, *scripts, bounds=bounds) as session:
        yield session


@asynccontextmanager
async def sending(
    nursery: trio.Nursery, protocol: Protocol, *scripts: Script, bounds: Limits = DEFAULTS
) -> AsyncIterator[Session]:
    """The same for either protocol of mail: a client that may send it, over TLS."""
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve)
    tls = TlsMode.STARTTLS if protocol is Protocol.MX else TlsMode.IMPLICIT
    async with gate(protocol, tls, pool_of(server.address), bounds, domains=DOMAINS) as running:
        client = await (running.secure() if protocol is Protocol.MX else running.logged_in())
        if protocol is Protocol.MX:
            await client.ask(b"EHLO client.example")
        yield client, server, running


async def up_to_data(talk: Talk) -> None:
    """A server that takes one transaction up to 354, for scripts that go on from there."""
    await talk.say(b"220 x\r\n")
    while (line := await talk.line()) != b"DATA":
        await talk.say(_GRANTS.get(line[:4], b"250 ok\r\n"))
    await talk.say(b"354 go\r\n")


_GRANTS = {b"EHLO": b"250-x\r\n250 AUTH PLAIN\r\n", b"AUTH": b"235 ok\r\n"}


async def begin(client: Client) -> None:
    """A transaction up to 354."""
    assert (await client.ask(MAIL)).startswith(b"250 ")
    assert (await client.ask(RCPT)).startswith(b"250 ")
    assert (await client.ask(b"DATA")).startswith(b"354 ")


async def message(client: Client, body: bytes = BODY) -> bytes:
    """A whole message; the reply to its end."""
    await begin(client)
    return await client.ask(body + b".")


# -- what is carried through -----------------------------------------------------------------------------


async def test_a_message_arrives_as_it_was_sent(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp()) as (client, server, running):
        assert await message(client) == b"250 2.0.0 Queued"
        assert await message(client, b"") == b"250 2.0.0 Queued"
        assert (await client.ask(b"QUIT")).startswith(b"221 ")
        await running.quiet()
        await server.talks[0].cut.wait()
        assert [behind_trace(each) for each in server.messages] == [BODY, b""]
        assert all(each.startswith(b"Received: from client.example ") for each in server.messages)
        assert len(server.talks) == 1
        told = running.trace.sessions[0].of("message")
        assert told[0] == ("accepted", "ann@example.org", 1, len(BODY) - 1, "250 2.0.0 Queued")
        assert running.trace.sessions[0].end == ("ok", "client closed")
        assert bytes(server.talks[0].heard).endswith(b"QUIT\r\n")


async def test_some_recipients_are_enough(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp()) as (client, server, running):
        await client.ask(MAIL)
        replies = [
            await client.ask(b"RCPT TO:<" + name + b"@example.net>") for name in (b"nobody", b"bob", b"later", b"eve")
        ]
        assert [said[:9] for said in replies] == [b"550 5.1.1", b"250 2.0.0", b"450 4.2.1", b"250 2.0.0"]
        assert (await client.ask(b"DATA")).startswith(b"354 ")
        assert (await client.ask(b"hello\r\n.")).startswith(b"250 ")
        client.close()
        await running.quiet()
        assert running.trace.sessions[0].of("message")[0][2] == 2
        assert len(server.messages) == 1


async def test_no_recipient_no_data(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp()) as (client, server, _):
        await client.ask(MAIL)
        await client.ask(b"RCPT TO:<nobody@example.net>")
        assert (await client.ask(b"DATA")).startswith(b"554 ")
        assert (await client.ask(b"RSET")).startswith(b"250 ")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.messages) == 1


@pytest.mark.parametrize("verb", [b"MAIL", b"RCPT", b"DATA", b"END"])
@pytest.mark.parametrize(
    "said", [b"452 4.3.1 Disk is full", b"550 5.7.1 Not you", b"554-5.6.0 two\r\n554 5.6.0 lines", b"451 no code"]
)
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_backends_refusal_is_carried_with_its_codes(
    nursery: trio.Nursery, protocol: Protocol, verb: bytes, said: bytes
) -> None:
    """On mx, where MAIL waits for a recipient, its refusal too: the client can't be told earlier."""
    async with sending(nursery, protocol, Smtp({verb: said + b"\r\n"})) as (client, server, running):
        replies = [await client.ask(MAIL)]
        if verb != b"MAIL" or protocol is Protocol.MX:
            replies.append(await client.ask(RCPT))
        if verb in (b"DATA", b"END"):
            replies.append(await client.ask(b"DATA"))
        if verb == b"END":
            replies.append(await client.ask(b"hello\r\n."))
        assert replies[-1] == said.split(b"\r\n")[-1]
        assert (await client.ask(b"NOOP")).startswith(b"250 ")
        assert len(server.talks) == 1
        client.close()
        await running.quiet()
        told = [values[0] for values in running.trace.sessions[0].of("message")]
        assert told == ([] if verb != b"END" else ["rejected"] if said.startswith(b"55") else ["deferred"])


async def test_parameters_are_carried(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp(keywords=(b"AUTH PLAIN", b"SIZE", b"8BITMIME", b"DSN"))) as (client, server, _):
        assert (await client.ask(MAIL + b" SIZE=100 BODY=8BITMIME RET=HDRS")).startswith(b"555 ")  # learned by probes
        assert (await client.ask(MAIL + b" SIZE=100")).startswith(b"250 ")
        assert MAIL + b" SIZE=100\r\n" in server.talks[0].heard


async def test_a_backend_without_size_is_not_shown_the_parameter(nursery: trio.Nursery) -> None:
    """It would refuse every message: SIZE and AUTH are our own offers."""
    async with submitting(nursery, Smtp(keywords=(b"AUTH PLAIN",))) as (client, server, _):
        assert (await client.ask(MAIL + b" SIZE=100")).startswith(b"250 ")
        assert MAIL + b"\r\n" in server.talks[0].heard


async def test_a_trusting_backend_is_not_shown_auth_either(nursery: trio.Nursery) -> None:
    server: LegacyServer = await nursery.start(LegacyServer(Smtp(keywords=(b"SIZE",))).serve)
    pool = pool_of(server.address, login=LoginMode.NONE)
    async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool, judge=RightHere(SECRET)) as running:
        client = await running.logged_in()
        assert (await client.ask(MAIL + b" AUTH=<>")).startswith(b"250 ")
        assert MAIL + b"\r\n" in server.talks[0].heard


async def test_pipelining(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp()) as (client, server, running):
        await client.send(
            b"\r\n".join([MAIL, RCPT, b"RCPT TO:<nobody@example.net>", b"DATA", b"one\r\n.", MAIL, RCPT, b"DATA"])
            + b"\r\ntwo\r\n.\r\nQUIT\r\n"
        )
        codes = [(await client.reply())[:3] for _ in range(10)]
        assert codes == [b"250", b"250", b"550", b"354", b"250", b"250", b"250", b"354", b"250", b"221"]
        await running.quiet()
        assert [behind_trace(each) for each in server.messages] == [b"\r\none\r\n", b"\r\ntwo\r\n"]


async def test_a_pipelined_body_is_never_read_as_commands(nursery: trio.Nursery) -> None:
    """cases.md D19: no recipient stands, and the body is already here."""
    async with submitting(nursery, Smtp()) as (client, server, running):
        await client.send(MAIL + b"\r\nRCPT TO:<nobody@example.net>\r\nDATA\r\n" + MAIL + b"\r\n.\r\n")
        assert [(await client.reply())[:3] for _ in range(2)] == [b"250", b"550"]
        while line := await client.line():
            assert line[:3] in (b"554", b"421")
        await running.quiet()
        assert server.talks[0].heard.count(b"MAIL FROM") == 1


async def test_a_client_that_pipelines_without_end_leaves_others_their_turn(nursery: trio.Nursery) -> None:
    """Nothing waits while commands that are here are answered: one client would stop all sessions for seconds."""
    async with submitting(nursery, Smtp()) as (client, _, running):
        session = running.trace.sessions[0]
        await client.send(b"NOOP\r\n" * 1000 + b"QUIT\r\n")
        turns = 0
        while not session.of("ended"):
            await trio.lowlevel.checkpoint()
            turns += 1
        assert turns >= 1000 // 32 - 1
        assert [await client.reply() for _ in range(1000)] == [b"250 2.0.0 Ok"] * 1000


async def test_refused_recipients_do_not_add_up_over_messages(nursery: trio.Nursery) -> None:
    """A mailing with some dead addresses in each message is no attack."""
    async with submitting(nursery, Smtp(), bounds=limits(bad_commands=3, recipients=3)) as (client, server, _):
        for _ in range(4):
            await client.ask(MAIL)
            for name in (b"nobody", b"bob", b"nobody"):
                await client.ask(b"RCPT TO:<" + name + b"@example.net>")
            assert (await client.ask(b"DATA")).startswith(b"354 ")
            assert (await client.ask(b"hello\r\n.")).startswith(b"250 ")
        assert len(server.messages) == 4


async def test_guessing_addresses_within_one_message_ends(nursery: trio.Nursery) -> None:
    """cases.md D13: each guess tells whether somebody is there."""
    async with submitting(nursery, Smtp()) as (client, server, running):
        await client.ask(MAIL)
        guesses = 0
        while (said := await client.ask(b"RCPT TO:<nobody@example.net>")).startswith(b"550 "):
            guesses += 1
        assert said.startswith(b"421 ")
        assert server.talks[0].heard.count(b"RCPT") == guesses == DEFAULTS.recipients + 2
        await running.quiet()
        assert running.trace.sessions[0].end == ("ok", "bad_commands")


# -- RSET, EHLO, idle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [b"RSET", b"EHLO again.example"])
async def test_a_transaction_given_up_is_given_up_at_the_backend(nursery: trio.Nursery, command: bytes) -> None:
    async with submitting(nursery, Smtp()) as (client, server, _):
        await client.ask(MAIL)
        await client.ask(RCPT)
        assert (await client.ask(command)).startswith(b"250 ")
        assert bytes(server.talks[0].heard).endswith(b"RSET\r\n")
        assert (await client.ask(RCPT)).startswith(b"503 ")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.talks) == 1


async def test_a_backend_that_refuses_rset_is_left(nursery: trio.Nursery) -> None:
    """The old transaction may still be open there: its recipients would get the next message."""
    async with submitting(nursery, Smtp({b"RSET": b"502 5.5.1 What?\r\n"}), Smtp()) as (client, server, _):
        await client.ask(MAIL)
        await client.ask(b"RCPT TO:<eve@example.net>")
        assert (await client.ask(b"RSET")).startswith(b"250 ")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.talks) == 2
        assert b"eve" not in server.talks[1].heard


async def test_a_backend_that_is_lost_at_rset_is_told_of(nursery: trio.Nursery) -> None:
    """Whoever looks why its messages take two connections each must find it."""
    async with submitting(nursery, Smtp({b"RSET": None}), Smtp()) as (client, _, running):
        await client.ask(MAIL)
        assert (await client.ask(b"RSET")).startswith(b"250 ")
        (told,) = running.trace.sessions[0].of("no_backend")
        assert "closed" in str(told[0])
        assert (await message(client)).startswith(b"250 ")


async def test_a_recipient_without_a_sender_is_forgotten(nursery: trio.Nursery) -> None:
    """A backend that takes RCPT behind a refused MAIL has it for the next message, unless its connection is cut."""
    async with sending(nursery, Protocol.MX, Smtp({b"MAIL": b"450 4.7.1 Later\r\n"}), Smtp()) as (client, server, _):
        await client.ask(MAIL)
        assert await client.ask(b"RCPT TO:<eve@example.net>") == b"450 4.7.1 Later"
        await client.ask(b"RSET")
        assert (await message(client)).startswith(b"250 ")
        assert b"eve" not in server.talks[-1].heard


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 Idle for too long\r\n"])
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_backend_that_left_while_the_client_was_idle_is_asked_anew(
    nursery: trio.Nursery, protocol: Protocol, farewell: bytes
) -> None:
    async def leaving(talk: Talk) -> None:
        async with trio.open_nursery() as both:
            both.start_soon(Smtp(), talk)
            await left.wait()
            await talk.say(farewell)
            both.cancel_scope.cancel()

    left = trio.Event()
    async with sending(nursery, protocol, leaving, Smtp()) as (client, server, running):
        assert (await message(client)).startswith(b"250 ")
        left.set()
        await server.talks[0].cut.wait()
        assert (await message(client)).startswith(b"250 ")
        assert len(server.talks) == 2
        assert (b"AUTH PLAIN " in server.talks[1].heard) is (protocol is Protocol.SUBMISSION)
        assert running.pool.backends[0].connections == 1


async def test_an_idle_client_is_told_and_the_backend_too(clock: MockClock, nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp(), bounds=limits(idle_timeout=600.0)) as (client, server, running):
        began = trio.current_time()
        assert (await client.line()).startswith(b"421 4.4.2 ")
        assert await client.ended()
        assert 600 <= trio.current_time() - began < 630
        await server.talks[0].cut.wait()
        assert bytes(server.talks[0].heard).endswith(b"QUIT\r\n")
        await running.quiet()


async def test_an_active_client_is_not_idle(clock: MockClock, nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp(), bounds=limits(idle_timeout=100.0)) as (client, _, _running):
        for _ in range(5):
            await trio.sleep(80)
            assert (await client.ask(b"NOOP")).startswith(b"250 ")


# -- a backend that is lost ------------------------------------------------------------------------------

POINTS = [b"MAIL", b"RCPT", b"DATA", b"END"]


async def until(client: Client, verb: bytes, protocol: Protocol = Protocol.SUBMISSION) -> bytes:
    """A transaction up to the command ``verb``; the reply to that. For mx MAIL is said with the first RCPT."""
    verb = b"RCPT" if verb == b"MAIL" and protocol is Protocol.MX else verb
    steps = {b"MAIL": MAIL, b"RCPT": RCPT, b"DATA": b"DATA", b"END": b"hello\r\n."}
    said = b""
    for step, command in steps.items():
        said = await client.ask(command)
        if step == verb:
            break
    return said


@pytest.mark.parametrize("verb", POINTS)
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_backend_lost_at_any_point_is_a_temporary_failure(
    nursery: trio.Nursery, protocol: Protocol, verb: bytes
) -> None:
    async with sending(nursery, protocol, Smtp({verb: None}), Smtp()) as (client, server, running):
        assert (await until(client, verb, protocol)).startswith(b"451 4.4.2 ")
        await client.ask(b"RSET")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.talks) == 2
        client.close()
        await running.quiet()
        told = [values[0] for values in running.trace.sessions[0].of("message")]
        assert told == (["lost", "accepted"] if verb == b"END" else ["accepted"])


@pytest.mark.parametrize("how", [closing, resetting])
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_backend_lost_within_the_body_is_told_at_its_end(
    nursery: trio.Nursery, protocol: Protocol, how: Script
) -> None:
    """The rest of the body is read off: none of it may be taken for commands."""

    async def leaving(talk: Talk) -> None:
        await up_to_data(talk)
        await talk.line()
        await how(talk)

    async with sending(nursery, protocol, leaving, Smtp()) as (client, server, running):
        await begin(client)
        await client.send(b"a: b\r\n\r\nfirst\r\n")
        await server.talks[0].cut.wait()
        await client.send(MAIL + b"\r\n")
        await wait_all_tasks_blocked(0.01)
        assert (await client.ask(RCPT + b"\r\n.")).startswith(b"451 4.4.2 ")
        assert (await message(client)).startswith(b"250 ")
        assert [behind_trace(each) for each in server.messages] == [BODY]
        client.close()
        await running.quiet()
        assert [values[0] for values in running.trace.sessions[0].of("message")] == ["lost", "accepted"]


@pytest.mark.parametrize("verb", POINTS)
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_backend_that_says_421_is_a_temporary_failure(
    nursery: trio.Nursery, protocol: Protocol, verb: bytes
) -> None:
    """The client's connection goes on: 421 would end it."""
    async with sending(nursery, protocol, Smtp({verb: b"421 4.3.2 Going down\r\n"}), Smtp()) as (client, server, _):
        assert await until(client, verb, protocol) == b"451 4.3.2 Going down"
        await client.ask(b"RSET")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.talks) == 2


@pytest.mark.parametrize("verb", POINTS)
@pytest.mark.parametrize("said", [b"hello\r\n", b"999 what\r\n", b"250-never ends\r\n" * 500, b"x" * 5000])
async def test_a_backend_that_talks_nonsense_is_lost(nursery: trio.Nursery, verb: bytes, said: bytes) -> None:
    async with submitting(nursery, Smtp({verb: said}), Smtp()) as (client, _, _running):
        assert (await until(client, verb)).startswith(b"451 4.4.")
        assert (await client.ask(b"NOOP")).startswith(b"250 ")


@pytest.mark.parametrize(
    ("verb", "said"), [(b"MAIL", b"354 go\r\n"), (b"DATA", b"250 ok\r\n"), (b"END", b"354 go\r\n")]
)
async def test_a_grant_of_the_wrong_kind_is_none(nursery: trio.Nursery, verb: bytes, said: bytes) -> None:
    async with submitting(nursery, Smtp({verb: said})) as (client, _, _running):
        assert (await until(client, verb)).startswith(b"451 4.4.")


@pytest.mark.parametrize("verb", POINTS)
async def test_a_backend_that_falls_silent_is_given_up(clock: MockClock, nursery: trio.Nursery, verb: bytes) -> None:
    """Within the minutes of RFC 5321 4.5.3.2, and by a reply to the client, whatever its idle_timeout."""
    async with submitting(nursery, Smtp({verb: b""}), bounds=limits(idle_timeout=60.0)) as (client, _, _running):
        began = trio.current_time()
        assert (await until(client, verb)).startswith(b"451 4.4.")
        assert 300 <= trio.current_time() - began < 660


async def test_a_backend_that_stops_reading_is_given_up(clock: MockClock, nursery: trio.Nursery) -> None:
    """The client hears of it at the end of its message, and isn't called idle."""

    async def reading_nothing(talk: Talk) -> None:
        talk.hold_at_most(4096)
        await up_to_data(talk)
        await trio.sleep_forever()

    async with submitting(nursery, reading_nothing, Smtp(), bounds=limits(idle_timeout=60.0)) as (client, server, _):
        await begin(client)
        await client.send((b"x" * 998 + b"\r\n") * 20_000)
        assert (await client.ask(b".")).startswith(b"451 4.4.")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.talks) == 2


async def test_no_backend_to_come_back_to(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp({b"MAIL": None}), closing) as (client, server, _):
        assert (await client.ask(MAIL)).startswith(b"451 4.4.")
        for _ in range(3):
            assert (await client.ask(MAIL)).startswith(b"451 4.4.")
        assert len(server.talks) == 4
        assert (await client.ask(b"NOOP")).startswith(b"250 ")


async def test_a_backend_that_no_longer_takes_the_login(nursery: trio.Nursery) -> None:
    """The client was let in; that its password has changed since is not an answer to MAIL."""
    async with submitting(nursery, Smtp({b"MAIL": None}), Smtp({b"AUTH": b"535 5.7.8 No\r\n"})) as (
        client,
        _,
        running,
    ):
        await client.ask(MAIL)
        assert (await client.ask(MAIL)).startswith(b"451 4.4.")
        assert running.pool.backends[0].connections == 0


# -- never a false 250 -----------------------------------------------------------------------------------


async def test_a_reply_before_its_command_is_not_taken_for_an_answer(nursery: trio.Nursery) -> None:
    """cases.md D16: the backend accepts before the end was sent, in the segment of its 354."""
    async with submitting(nursery, Smtp({b"DATA": b"354 go\r\n250 2.0.0 accepted\r\n"})) as (client, server, _):
        await begin(client)
        assert (await client.ask(b"hello\r\n.")).startswith(b"451 4.4.")
        await server.talks[0].cut.wait()
        assert not server.messages


async def test_an_acceptance_in_the_middle_of_the_body_is_none(nursery: trio.Nursery) -> None:
    async def eager(talk: Talk) -> None:
        await up_to_data(talk)
        await talk.line()
        await talk.say(b"250 2.0.0 accepted\r\n")
        spoken.set()
        await talk.silence()

    spoken = trio.Event()
    async with submitting(nursery, eager) as (client, server, _):
        await begin(client)
        await client.send(b"first\r\nsecond\r\n")
        await spoken.wait()
        assert (await client.ask(b".")).startswith(b"451 4.4.")
        await server.talks[0].cut.wait()
        assert b"\r\n.\r\n" not in server.talks[0].heard


LOSSES = ["closes", "resets", "shutdown"]
CUTS = [b"", b"Subject", b"Subject: x\r\n", b"Subject: x\r\n\r\nhello\r\n.", b"Subject: x\r\n.\r"]


async def lose(client: Client, running: Gate, how: str) -> None:
    """The client's end, by itself or with all sessions; the gate has taken in what was sent before it."""
    await wait_all_tasks_blocked(0.01)
    match how:
        case "closes":
            client.close()
        case "resets":
            client.reset()
        case _:
            running.sessions.cancel_scope.cancel()
    await running.quiet()


@pytest.mark.parametrize("part", CUTS)
@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_client_lost_within_data_leaves_no_message(
    nursery: trio.Nursery, protocol: Protocol, part: bytes, how: str
) -> None:
    """cases.md D15: the backend sees a cut connection, never the final dot, and no QUIT that would look orderly."""
    async with sending(nursery, protocol, Smtp()) as (client, server, running):
        await begin(client)
        await client.send(part)
        await lose(client, running, how)
        await server.talks[0].cut.wait()
        assert not server.messages
        body = bytes(server.talks[0].heard).partition(b"DATA\r\n")[2]
        assert not body or part.startswith(behind_trace(body))
        assert [values[0] for values in running.trace.sessions[0].of("message")] == ["lost"]


@pytest.mark.parametrize(
    "part", [b"BDAT 8\r\n", b"BDAT 8 LAST\r\na: b\r\n\r", b"BDAT 8\r\na: b\r\n\r\n", b"BDAT 0\r\n"]
)
@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_client_lost_within_chunks_leaves_no_message(
    nursery: trio.Nursery, protocol: Protocol, part: bytes, how: str
) -> None:
    """cases.md D11, D15: before a chunk, within the last one, and between two."""
    async with sending(nursery, protocol, Smtp()) as (client, server, running):
        await client.ask(MAIL)
        await client.ask(RCPT)
        await client.send(part)
        await lose(client, running, how)
        await server.talks[0].cut.wait()
        assert not server.messages
        assert b"QUIT" not in server.talks[0].heard
        assert [values[0] for values in running.trace.sessions[0].of("message")] == ["lost"]


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("said", [0, 1, 2])
async def test_a_client_lost_between_commands_leaves_nothing(
    nursery: trio.Nursery, protocol: Protocol, said: int, how: str
) -> None:
    """The backend is told goodbye where it was called at all: mx calls it with the first recipient."""
    async with sending(nursery, protocol, Smtp()) as (client, server, running):
        for command in [MAIL, RCPT][:said]:
            await client.ask(command)
        await lose(client, running, how)
        assert len(server.talks) == (protocol is Protocol.SUBMISSION or said == 2)
        for talk in server.talks:
            await talk.cut.wait()
            assert bytes(talk.heard).endswith(b"QUIT\r\n")
        assert not server.messages


async def test_a_message_that_is_half_in_clear_never_stands(nursery: trio.Nursery) -> None:
    """STARTTLS between two chunks: what came before may be anybody's, and what follows is no part of it."""
    server: LegacyServer = await nursery.start(LegacyServer(Smtp()).serve)
    async with gate(Protocol.MX, TlsMode.STARTTLS, pool_of(server.address), domains=DOMAINS) as running:
        client = await running.connect()
        await client.line()
        for command in (b"EHLO client.example", MAIL, RCPT):
            assert (await client.ask(command)).startswith(b"250 ")
        assert (await client.ask(b"BDAT 8\r\na: b\r\n")).startswith(b"250 ")
        assert (await client.ask(b"STARTTLS")).startswith(b"220 ")
        await client.start_tls()
        await server.talks[0].cut.wait()
        assert b"QUIT" not in server.talks[0].heard
        assert (await client.ask(b"EHLO client.example")).startswith(b"250 ")
        assert (await client.ask(b"BDAT 3 LAST\r\nx")).startswith(b"503 ")
        assert not server.messages
        assert (await message(client)).startswith(b"250 ")
        assert [behind_trace(each) for each in server.messages] == [BODY]


# -- the end of data -------------------------------------------------------------------------------------

SLOPPY = (
    b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n.\r\n",
    b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n",
)  # fmt: skip


@pytest.mark.parametrize("end", [each for each in SLOPPY if each != b"\r\n.\r\n"], ids=repr)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
async def test_two_messages_never_come_of_one(nursery: trio.Nursery, end: bytes, bytewise: bool) -> None:
    """cases.md D8: the sloppiest backend behind us, which takes anything for an end."""
    smuggled = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\nsmuggled"
    async with submitting(nursery, Smtp(ends=SLOPPY)) as (client, server, running):
        await begin(client)
        text = b"first" + end + smuggled
        for piece in [text[at : at + 1] for at in range(len(text))] if bytewise else [text]:
            await client.send(piece)
        said = await client.ask(b"\r\n.")
        await client.ask(b"RSET")
        client.close()
        await running.quiet()
        for talk in server.talks:
            await talk.cut.wait()
        assert len(server.messages) == said.startswith(b"250 ")
        assert not any(b"MAIL FROM:<evil" in talk.heard for talk in server.talks)
        assert said[:9] in (b"550 5.6.0", b"250 2.0.0")


async def test_a_refused_body_leaves_the_session_usable(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp()) as (client, server, running):
        assert (await message(client, b"bare\nLF\r\n")).startswith(b"550 5.6.0 ")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.messages) == 1
        client.close()
        await running.quiet()
        told = [values[0] for values in running.trace.sessions[0].of("message")]
        assert told == ["bare_lf", "accepted"]


async def test_a_message_over_the_size_is_refused_and_the_session_usable(nursery: trio.Nursery) -> None:
    """cases.md D14."""
    async with submitting(nursery, Smtp(), bounds=limits(message_size=2000)) as (client, server, running):
        assert (await client.ask(MAIL + b" SIZE=2001")).startswith(b"552 5.3.4 ")
        assert (await message(client, b"x" * 998 + b"\r\n" + b"x" * 998 + b"\r\n")).startswith(b"250 ")
        assert (await message(client, (b"x" * 998 + b"\r\n") * 3)).startswith(b"552 5.3.4 ")
        assert (await message(client)).startswith(b"250 ")
        assert len(server.messages) == 2
        client.close()
        await running.quiet()


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_header_beyond_all_bounds_is_refused_and_the_session_usable(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    """cases.md D23: a forged field would pass behind what nobody looks at any more."""
    async with sending(nursery, protocol, Smtp()) as (client, server, running):
        header = (b"X: " + b"y" * 900 + b"\r\n") * (MOST_HEADER // 905 + 1)
        assert (await message(client, header + b"\r\nhello\r\n")).startswith(b"552 5.3.4 ")
        await server.talks[0].cut.wait()
        assert (await message(client)).startswith(b"250 ")
        assert [behind_trace(each) for each in server.messages] == [BODY]
        client.close()
        await running.quiet()
        assert [values[0] for values in running.trace.sessions[0].of("message")] == ["too_large", "accepted"]


async def test_a_message_far_over_the_size_is_cut(nursery: trio.Nursery) -> None:
    async with submitting(nursery, Smtp(), bounds=limits(message_size=2000)) as (client, server, running):
        await begin(client)
        await client.send((b"x" * 998 + b"\r\n") * 12)
        assert (await client.line()).startswith(b"421 4.3.4 ")
        await running.quiet()
        await server.talks[0].cut.wait()
        assert not server.messages
        assert b"QUIT" not in server.talks[0].heard


async def test_the_end_of_data_is_found_in_any_pieces(nursery: trio.Nursery) -> None:
    """cases.md D9, each piece in a TLS record of its own."""
    async with submitting(nursery, Smtp()) as (client, server, _):
        for cut in range(1, 5):
            await begin(client)
            text = b"a: b\r\n.\r\n"
            await client.send(text[:-cut])
            await wait_all_tasks_blocked(0.005)
            await client.send(text[-cut:])
            assert (await client.reply()).startswith(b"250 ")
        assert [behind_trace(each) for each in server.messages] == [b"a: b\r\n"] * 4


# -- memory ----------------------------------------------------------------------------------------------

_HEADER = b"Subject: x\r\n\r\n"
_LINE = b"http://good-site.com/ " + b"y" * 976 + b"\r\n"


class SlowReader:
    """A backend that reads slower than the client sends. ``received``: octets behind 354, up to the end of data.

    ``ahead``: what the client had sent beyond what was read, once it could send no more. ``head``: ours.
    """

    def __init__(self) -> None:
        self.sent = self.received = self.ahead = 0
        self.head = b""

    async def __call__(self, talk: Talk) -> None:
        talk.hold_at_most(100_000)
        await up_to_data(talk)
        tail = b""
        while tail[-5:] != b"\r\n.\r\n":
            data = await talk.more()
            talk.heard.clear()
            if not self.received:
                self.head = data.partition(b"Subject")[0]
            if self.received < 1_000_000 <= self.received + len(data):
                await wait_all_tasks_blocked(0.1)  # the client is stopped by now
                self.ahead = self.sent - self.received
            self.received += len(data)
            tail = tail[-5:] + data[-5:]
            await trio.lowlevel.checkpoint()
        await talk.say(b"250 2.0.0 Queued\r\n")
        await talk.silence()


async def send_large(client: Client, reader: SlowReader, size: int, chunked: bool) -> bytes:
    """A message of ``size`` octets and a header; the reply to its end."""
    for command in (MAIL, RCPT):
        assert (await client.ask(command)).startswith(b"250 ")
    piece = _LINE * 50
    if chunked:
        assert (await client.ask(b"BDAT %d\r\n" % len(_HEADER) + _HEADER[:-2])).startswith(b"250 ")
        await client.send(b"BDAT %d LAST\r\n" % size)
    else:
        assert (await client.ask(b"DATA")).startswith(b"354 ")
        await client.send(_HEADER)
    while reader.sent < size:
        await client.send(piece)
        reader.sent += len(piece)
    return await (client.reply() if chunked else client.ask(b"."))


@asynccontextmanager
async def looked_at(nursery: trio.Nursery, reader: SlowReader, bounds: Limits) -> AsyncIterator[Gate]:
    """An mx listener that looks at the links of its clients' messages."""
    server: LegacyServer = await nursery.start(LegacyServer(reader).serve)
    dns = await DnsServer().serve(nursery)
    checks = Checks(dnsbl=False, reverse_dns=False, helo=False, surbl=True)
    screener, _ = mx_screener(dns, nursery, checks=checks, settings=Screening())
    links = Links((ZONE,), dns.resolver(5.0), Told(), nursery, 5.0)
    links.suffixes = Suffixes()
    async with gate(
        Protocol.MX,
        TlsMode.STARTTLS,
        pool_of(server.address),
        bounds,
        domains=DOMAINS,
        rules=AddressRules(),
        proxies=("127.0.0.1",),
        screener=screener,
        links=links,
    ) as running:
        yield running
    assert dns.questions(f"good-site.com.{ZONE}")


@pytest.mark.parametrize(
    ("protocol", "chunked"), [(Protocol.SUBMISSION, False), (Protocol.MX, False), (Protocol.MX, True)]
)
async def test_a_large_body_streams_through(nursery: trio.Nursery, protocol: Protocol, chunked: bool) -> None:
    """100 MB past a backend that reads slower than the client sends: the kernel and a record or two hold it, not we."""
    size = 100_000_000
    reader = SlowReader()
    bounds = limits(message_size=2 * size)
    async with AsyncExitStack() as stack:
        if protocol is Protocol.MX:
            running = await stack.enter_async_context(looked_at(nursery, reader, bounds))
            client = await running.secure(b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 25\r\n")
            await client.ask(b"EHLO client.example")
        else:
            client, _, running = await stack.enter_async_context(submitting(nursery, reader, bounds=bounds))
        tracemalloc.start()
        try:
            said = await send_large(client, reader, size, chunked)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert said == b"250 2.0.0 Queued"
        assert reader.received == len(reader.head) + len(_HEADER) + size + len(b".\r\n")
        assert behind_trace(reader.head) == b""
        assert peak < 2_000_000
        assert 0 < reader.ahead < 15_000_000
        client.close()
        await running.quiet()
        assert running.trace.sessions[0].of("message")[0][3] == len(_HEADER) + size
