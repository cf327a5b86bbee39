"""Sessions of other servers, over real sockets: what is taken in clear and over TLS, and what a backend gets of it.

``gate`` checks for each of them, when it ends, that what was counted is back at nothing, that every session has told
its end once, and that no secret was told.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.admission.look_ups import CLIENT, POINTER, REVERSED, mx_screener, name_client
from tests.dns_server import SILENT, DnsServer, Reply, has
from tests.gate import HOSTNAME, Client, Gate, gate, limits, pool_of, records
from tests.legacy_server import SECRET, LegacyServer, Smtp, Talk, closing
from tests.mail.surbl.told import ZONE, Told
from tlsgate.admission.look_ups import Checks
from tlsgate.admission.rules import AddressRules
from tlsgate.backends.pool import Pool
from tlsgate.config import Action, Bans, ClientAddress, Protocol, Screening, TlsMode
from tlsgate.mail.surbl import Links, Suffixes

pytestmark = pytest.mark.timeout(60)

DOMAINS = ("example.org",)
NOBODY_TRUSTED = AddressRules()
FROM_CLIENT = f"PROXY TCP4 {CLIENT} 192.0.2.1 4711 25\r\n".encode()
PROXIES = ("127.0.0.1",)
MAIL = b"MAIL FROM:<eve@sender.example>"
RCPT = b"RCPT TO:<bob@example.org>"
BODY = b"Subject: one\r\n\r\nfirst line\r\n"
XCLIENT = (b"SIZE", b"XCLIENT NAME ADDR PORT PROTO HELO")
ONLY_SPF = Screening(reverse_dns=Action.OFF, helo=Action.OFF)
SPF = Checks(dnsbl=False, reverse_dns=False, helo=False, spf=True)


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


@pytest.fixture(scope="module")
def suffixes() -> Suffixes:
    return Suffixes()


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


async def serving(nursery: trio.Nursery, *scripts: Any) -> LegacyServer:
    legacy: LegacyServer = await nursery.start(LegacyServer(*(scripts or (Smtp(),))).serve)
    return legacy


@asynccontextmanager
async def receiving(pool: Pool, **changed: Any) -> AsyncIterator[Gate]:
    """An mx listener for DOMAINS; ``changed`` is for the gate."""
    async with gate(Protocol.MX, TlsMode.STARTTLS, pool, **{"domains": DOMAINS, **changed}) as running:
        yield running


async def greeted(running: Gate, first: bytes = b"", source: str = "127.0.0.1") -> Client:
    """A client in clear that has said EHLO."""
    client = await running.connect(first, source)
    assert (await client.line()).startswith(b"220 ")
    assert (await client.ask(b"EHLO peer.example")).startswith(b"250 ")
    return client


async def secured(running: Gate, first: bytes = b"", helo: bytes = b"peer.example") -> Client:
    """One that has said it over TLS."""
    client = await running.secure(first)
    assert (await client.ask(b"EHLO " + helo)).startswith(b"250 ")
    return client


async def message(client: Client, body: bytes = BODY, mail: bytes = MAIL, rcpt: bytes = RCPT) -> bytes:
    """A whole message; the reply to its end."""
    for command, code in ((mail, b"250 "), (rcpt, b"250 "), (b"DATA", b"354 ")):
        said = await client.ask(command)
        assert said.startswith(code), said
    return await client.ask(body + b".")


# -- mail -----------------------------------------------------------------------------------------------


async def test_mail_in_clear(nursery: trio.Nursery) -> None:
    """Whoever has no TLS must be able to send mail all the same (RFC 3207 4)."""
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await running.connect()
        assert await client.line() == b"220 mail.example.org ESMTP ready"
        await client.send(b"EHLO peer.example\r\n")
        offered = await client.lines()
        assert b"250-STARTTLS" in offered or b"250 STARTTLS" in offered
        assert not any(b"AUTH" in line for line in offered)
        assert await message(client) == b"250 2.0.0 Queued"
        assert await client.ask(b"QUIT") == b"221 2.0.0 mail.example.org Bye"
        assert await client.ended()
        await running.quiet()
        (session,) = running.trace.sessions
        assert session.of("message")[0] == ("accepted", "eve@sender.example", 1, len(BODY), "250 2.0.0 Queued")
        assert session.of("backend_used") == [(str(legacy.address),)]
        assert session.end == ("ok", "client closed")
        assert not session.of("handshaken")


async def test_mail_over_tls(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await running.secure()
        await client.send(b"EHLO peer.example\r\n")
        assert not any(b"STARTTLS" in line for line in await client.lines())
        assert await message(client) == b"250 2.0.0 Queued"
        client.close()
        await running.quiet()
        (session,) = running.trace.sessions
        assert [name for name, _ in session.calls] == [
            "relaying", "relayed", "handshaken", "relaying", "backend_used", "message", "relayed", "ended",
        ]  # fmt: skip
        assert session.end[0] == "ok"


async def test_where_tls_is_required_no_mail_is_taken_in_clear(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address), require_tls=True) as running:
        client = await greeted(running)
        for command in (MAIL, RCPT, b"DATA"):
            assert (await client.ask(command)).startswith(b"530 5.7.0 ")
        assert not legacy.talks
        assert (await client.ask(b"STARTTLS")).startswith(b"220 ")
        await client.start_tls()
        await client.ask(b"EHLO peer.example")
        assert await message(client) == b"250 2.0.0 Queued"
        assert len(legacy.messages) == 1


async def test_starttls_forgets_what_was_said_in_clear(nursery: trio.Nursery) -> None:
    """Whoever sits in between could have said it: name, sender, recipients (RFC 3207 4.2)."""
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        await client.ask(MAIL)
        assert (await client.ask(RCPT)).startswith(b"250 ")
        assert (await client.ask(b"STARTTLS")).startswith(b"220 ")
        await client.start_tls()
        assert (await client.ask(RCPT)).startswith(b"503 ")
        assert (await client.ask(b"DATA")).startswith(b"503 ")
        assert (await client.ask(MAIL)).startswith(b"503 ")
        await legacy.talks[0].cut.wait()
        await client.ask(b"EHLO other.example")
        assert await message(client) == b"250 2.0.0 Queued"
        assert len(legacy.talks) == 2
        assert b"other.example" in legacy.messages[0]
        assert b"peer.example" not in legacy.messages[0]


async def test_two_messages_go_over_one_connection(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        for _ in range(2):
            assert await message(client) == b"250 2.0.0 Queued"
        assert (len(legacy.talks), len(legacy.messages)) == (1, 2)
        assert records(running.pool).open == 1
        assert len(running.trace.sessions[0].of("backend_used")) == 1


async def test_a_client_that_pipelines(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        await client.send(
            b"\r\n".join([MAIL, b"RCPT TO:<eve@elsewhere.example>", RCPT, b"RCPT TO:<nobody@example.org>", b"DATA"])
            + b"\r\n"
        )
        codes = [(await client.reply())[:9] for _ in range(5)]
        assert codes == [b"250 2.1.0", b"550 5.7.1", b"250 2.0.0", b"550 5.1.1", b"354 Go on"]
        await client.send(BODY + b".\r\n" + b"\r\n".join([MAIL, RCPT, b"DATA\r\n"]))
        codes = [(await client.reply())[:3] for _ in range(4)]
        assert codes == [b"250", b"250", b"250", b"354"]
        assert await client.ask(b"two\r\n.") == b"250 2.0.0 Queued"
        assert len(legacy.messages) == 2


async def test_a_backend_without_size_is_not_shown_the_parameter(nursery: trio.Nursery) -> None:
    """MAIL waits here until the backend is there: one that lacks SIZE would refuse every message for it."""
    legacy = await serving(nursery, Smtp(keywords=(b"HELP",)))
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        assert await message(client, mail=MAIL + b" SIZE=100") == b"250 2.0.0 Queued"
        assert MAIL + b"\r\n" in legacy.talks[0].heard


async def test_no_stranger_says_for_whom_it_speaks(nursery: trio.Nursery) -> None:
    """AUTH= names the user who has sent a message; a backend that trusts us would believe it (RFC 4954 5)."""
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        assert (await client.ask(MAIL + b" AUTH=boss@example.org")).startswith(b"555 ")


async def test_a_backend_s_refusal_of_the_sender_is_the_answer_to_each_recipient(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery, Smtp({b"MAIL": b"550 5.7.1 Not you\r\n"}))
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        assert (await client.ask(MAIL)).startswith(b"250 ")
        for _ in range(2):
            assert await client.ask(RCPT) == b"550 5.7.1 Not you"
        assert (await client.ask(b"DATA")).startswith(b"554 ")


# -- backends that aren't there ---------------------------------------------------------------------------


async def test_without_a_backend_mail_is_put_off(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery, closing, Smtp())
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        assert (await client.ask(MAIL)).startswith(b"250 ")
        assert await client.ask(RCPT) == b"451 4.4.2 Mail server is not reachable, try again later"
        (reason,) = running.trace.sessions[0].of("no_backend")
        assert str(legacy.address) in str(reason[0])
        # It is back, in the same transaction: nothing is lost or doubled.
        assert (await client.ask(RCPT)).startswith(b"250 ")
        assert (await client.ask(b"DATA")).startswith(b"354 ")
        assert (await client.ask(BODY + b".")).startswith(b"250 ")
        assert (len(legacy.messages), bytes(legacy.talks[1].heard).count(b"MAIL FROM")) == (1, 1)


async def test_a_backend_that_is_lost_between_two_recipients(nursery: trio.Nursery) -> None:
    """The first recipient must not be lost for a message that goes to the others."""

    async def script(talk: Talk) -> None:
        await talk.say(b"220 x\r\n")
        for said in (b"250 x\r\n", b"250 ok\r\n", b"250 ok\r\n"):
            await talk.line()
            await talk.say(said)
        await talk.line()

    legacy = await serving(nursery, script, Smtp())
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        await client.ask(MAIL)
        assert (await client.ask(RCPT)).startswith(b"250 ")
        for command in (RCPT, RCPT, b"DATA"):
            assert (await client.ask(command)).startswith(b"451 4.4.2 ")
        assert (await client.ask(b"RSET")).startswith(b"250 ")
        assert await message(client) == b"250 2.0.0 Queued"
        assert len(legacy.messages) == 1


# -- relay rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("<eve@elsewhere.example>", b"550 5.7.1"),
        ("<eve@sub.example.org>", b"550 5.7.1"),
        ("<eve@example.org.elsewhere.example>", b"550 5.7.1"),
        ("<eve%elsewhere.example@example.org>", b"550 5.7.1"),
        ("<elsewhere.example!eve@example.org>", b"550 5.7.1"),
        ('<"eve@elsewhere.example"@example.org>', b"550 5.7.1"),
        ("<@example.org:eve@elsewhere.example>", b"550 5.7.1"),
        ('<"@example.org:eve"@elsewhere.example>', b"550 5.7.1"),
        ("<eve@[192.0.2.1]>", b"550 5.7.1"),
        ('<"|/bin/sh"@example.org>', b"550 5.7.1"),
        ("<eve>", b"501 5.1.3"),
        ('<"eve@example.org">', b"550 5.7.1"),
    ],
)
async def test_no_relay_for_others(nursery: trio.Nursery, path: str, said: bytes) -> None:
    """The backend trusts us: what it gets to see, it would deliver. It isn't even connected to."""
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        await client.ask(MAIL)
        assert (await client.ask(b"RCPT TO:" + path.encode())).startswith(said)
        assert (await client.ask(b"DATA")).startswith(b"554 ")
        client.close()
        await running.quiet()
        assert not legacy.talks
        ((sender, _, _),) = running.trace.sessions[0].of("recipient_refused")
        assert sender == "eve@sender.example"


@pytest.mark.parametrize("rcpt", [RCPT, b"RCPT TO:<postmaster>", b"RCPT TO:<postmaster@example.org>"])
async def test_without_domains_nothing_is_taken(nursery: trio.Nursery, rcpt: bytes) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address), domains=()) as running:
        client = await greeted(running)
        await client.ask(MAIL)
        assert (await client.ask(rcpt))[:1] == b"5"
        assert not legacy.talks


async def test_the_postmaster_needs_no_domain(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        assert await message(client, rcpt=b"RCPT TO:<Postmaster>") == b"250 2.0.0 Queued"
        assert b"RCPT TO:<Postmaster>\r\n" in legacy.talks[0].heard


async def test_a_sender_without_a_domain_is_refused(nursery: trio.Nursery) -> None:
    """A backend would add its own domain: a stranger's mail would come from one of its users, with no SPF to say so."""
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        for sender in (b"<boss>", b'<"boss@example.org">'):
            assert (await client.ask(b"MAIL FROM:" + sender)).startswith(b"501 5.1.7 ")
        assert await message(client, mail=b"MAIL FROM:<>") == b"250 2.0.0 Queued"


# -- who tries to log in ----------------------------------------------------------------------------------


async def test_logins_are_told_and_lead_to_a_ban(nursery: trio.Nursery) -> None:
    """No server logs in here: whoever does is guessing."""
    legacy = await serving(nursery)
    rules = AddressRules()
    async with receiving(pool_of(legacy.address), rules=rules, bans=Bans(failures=2)) as running:
        client = await greeted(running)
        shown = base64.b64encode(f"\0ann\0{SECRET}".encode())
        assert (await client.ask(b"AUTH PLAIN " + shown)).startswith(b"502 5.5.1 ")
        assert (await client.ask(b"STARTTLS")).startswith(b"220 ")
        await client.start_tls()
        await client.ask(b"EHLO peer.example")
        assert (await client.ask(b"AUTH LOGIN " + base64.b64encode(b"ben"))).startswith(b"502 5.5.1 ")
        client.close()
        await running.quiet()
        (session,) = running.trace.sessions
        assert session.of("cleartext_auth_refused") == [("PLAIN", "ann")]
        assert session.of("auth_failed") == [("LOGIN", "ben", "not offered")]
        assert len(running.rooms.told.banned_networks) == 1
        refused = await running.connect()
        assert (await refused.line()).startswith(b"421 4.7.0 ")


# -- time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("idle", "seconds"), [(1800.0, 300), (60.0, 60)])
async def test_who_is_silent_is_let_go(nursery: trio.Nursery, clock: MockClock, idle: float, seconds: int) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address), limits=limits(idle_timeout=idle)) as running:
        client = await greeted(running)
        await client.ask(MAIL)
        assert (await client.ask(RCPT)).startswith(b"250 ")
        began = trio.current_time()
        assert await client.line() == b"421 4.4.2 mail.example.org Idle for too long"
        assert trio.current_time() - began == pytest.approx(seconds, abs=2)
        assert await client.ended()
        await running.quiet()
        assert running.trace.sessions[0].end == ("timeout", "idle_timeout")
        await legacy.talks[0].cut.wait()


async def test_a_handshake_that_does_not_come(nursery: trio.Nursery, clock: MockClock) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address), limits=limits(greeting_timeout=20.0)) as running:
        client = await greeted(running)
        await trio.sleep(100)  # the time runs from STARTTLS on
        assert (await client.ask(b"STARTTLS")).startswith(b"220 ")
        began = trio.current_time()
        assert await client.ended()
        assert trio.current_time() - began == pytest.approx(20, abs=2)
        await running.quiet()
        assert running.trace.sessions[0].end == ("timeout", "greeting_timeout")


async def test_a_shutdown_is_told(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        await client.ask(MAIL)
        await client.ask(RCPT)
        running.sessions.cancel_scope.cancel()
        assert await client.line() == b"421 4.3.2 mail.example.org Shutting down, try again later"
        assert await client.ended()
        await legacy.talks[0].cut.wait()
        assert running.trace.sessions[0].end == ("shutdown", "shutdown")


async def test_a_shutdown_cuts_a_message_that_is_under_way(nursery: trio.Nursery) -> None:
    """Half of it must not stand."""
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await greeted(running)
        for command in (MAIL, RCPT, b"DATA"):
            await client.ask(command)
        await client.send(BODY)
        with trio.fail_after(5):
            while b"first" not in legacy.talks[0].heard:
                await wait_all_tasks_blocked(0.01)
        running.sessions.cancel_scope.cancel()
        await legacy.talks[0].cut.wait()
        assert not legacy.messages
        assert not legacy.talks[0].heard.endswith(b"QUIT\r\n")


# -- what the backend is told of the client ---------------------------------------------------------------


async def test_a_backend_that_takes_it_is_told_who_the_client_is(server: DnsServer, nursery: trio.Nursery) -> None:
    name_client(server, "mx.peer.example")
    legacy = await serving(nursery, Smtp({b"XCLIENT": b"220 Ok\r\n"}, keywords=XCLIENT))
    checks = Checks(dnsbl=False, reverse_dns=True, helo=False)
    making, _ = mx_screener(server, nursery, checks=checks, settings=Screening(reverse_dns=Action.OFF))
    pool = pool_of(legacy.address, client_address=ClientAddress.XCLIENT)
    async with receiving(pool, rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        client = await secured(running, FROM_CLIENT)
        assert await message(client) == b"250 2.0.0 Queued"
    (told,) = re.findall(rb"XCLIENT (.*)\r\n", legacy.talks[0].heard)
    assert set(told.split()) == {
        b"NAME=mx.peer.example", f"ADDR={CLIENT}".encode(), b"PORT=4711", b"HELO=peer.example", b"PROTO=ESMTP",
    }  # fmt: skip
    assert legacy.talks[0].heard.index(b"XCLIENT") < legacy.talks[0].heard.index(b"MAIL")


async def test_a_backend_that_takes_no_client_gets_no_mail(nursery: trio.Nursery) -> None:
    """It would take a stranger's mail for ours."""
    legacy = await serving(nursery)
    pool = pool_of(legacy.address, client_address=ClientAddress.XCLIENT)
    async with receiving(pool) as running:
        client = await greeted(running)
        await client.ask(MAIL)
        assert (await client.ask(RCPT)).startswith(b"451 4.4.2 ")
        assert b"MAIL" not in legacy.talks[0].heard


# -- who comes --------------------------------------------------------------------------------------------


async def test_a_refused_sender_never_gets_to_the_backend(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("sender.example", "TXT", has('"v=spf1 -all"'))
    legacy = await serving(nursery)
    making, told = mx_screener(server, nursery, checks=SPF, settings=ONLY_SPF)
    async with receiving(pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        client = await greeted(running, FROM_CLIENT)
        assert (await client.ask(MAIL)).startswith(b"250 ")
        await client.send(RCPT + b"\r\n")
        first, second = await client.lines()
        assert first == b"550-5.7.1 Mail is refused: SPF fail for sender.example (-all)"
        assert second.startswith(b"550 5.7.1 if this is wrong, write to the postmaster")
        assert not legacy.talks
        assert (await client.ask(b"RSET")).startswith(b"250 ")
        # The refusal was this sender's, and is no one else's.
        assert await message(client, mail=b"MAIL FROM:<ann@other.example>") == b"250 2.0.0 Queued"
        (session,) = running.trace.sessions
        assert session.of("screened") == [("reject", 0, "SPF fail for sender.example (-all)", "eve@sender.example")]
        assert told.checked["sender", "reject"] == told.checked["sender", "pass"] == 1


async def test_the_name_in_helo_that_was_said_over_tls_counts(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("peer.example", "TXT", has('"v=spf1 -all"'))
    legacy = await serving(nursery)
    making, _ = mx_screener(server, nursery, checks=SPF, settings=ONLY_SPF)
    async with receiving(pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        client = await greeted(running, FROM_CLIENT)
        await client.ask(b"MAIL FROM:<>")
        assert (await client.ask(RCPT)).startswith(b"550 5.7.1 ")
        assert (await client.ask(b"STARTTLS")).startswith(b"220 ")
        await client.start_tls()
        await client.ask(b"EHLO other.example")
        assert await message(client, mail=b"MAIL FROM:<>") == b"250 2.0.0 Queued"


async def test_a_client_that_is_trusted_or_private_is_not_screened(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("sender.example", "TXT", has('"v=spf1 -all"'))
    legacy = await serving(nursery)
    making, told = mx_screener(server, nursery, checks=SPF, settings=ONLY_SPF)
    async with receiving(pool_of(legacy.address), proxies=PROXIES, screener=making) as running:
        client = await greeted(running, b"PROXY TCP4 127.0.0.9 127.0.0.1 1 25\r\n")
        assert await message(client) == b"250 2.0.0 Queued"
    async with receiving(pool_of(legacy.address), rules=NOBODY_TRUSTED, screener=making) as running:
        client = await greeted(running)
        assert await message(client) == b"250 2.0.0 Queued"
    assert not server.asked
    assert not told.checked


async def test_who_leaves_takes_all_look_ups_along(nursery: trio.Nursery, suffixes: Suffixes) -> None:
    """In the middle of a message, with the sender's and a link's look-ups under way."""
    server = await DnsServer(everything=SILENT).serve(nursery)
    legacy = await serving(nursery)
    async with trio.open_nursery() as asking:
        checks = Checks(dnsbl=True, reverse_dns=True, helo=True, spf=True, surbl=True)
        making, _ = mx_screener(server, asking, checks=checks, settings=Screening(), timeout=50.0)
        links = Links((ZONE,), server.resolver(50.0), Told(), asking, 50.0)
        links.suffixes = suffixes
        async with receiving(
            pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making, links=links
        ) as running:
            client = await greeted(running, FROM_CLIENT)
            await client.ask(MAIL)
            await client.send(RCPT + b"\r\n")
            await wait_all_tasks_blocked(0.05)
            assert asking.child_tasks
            running.sessions.cancel_scope.cancel()
            await running.quiet()
    assert not legacy.talks


async def test_who_speaks_before_the_greeting_is_noted(
    server: DnsServer, nursery: trio.Nursery, clock: MockClock
) -> None:
    legacy = await serving(nursery)
    settings = Screening(helo=Action.OFF, pregreet_delay=5.0)
    making, told = mx_screener(
        server, nursery, checks=Checks(dnsbl=True, reverse_dns=False, helo=False), settings=settings
    )
    async with receiving(pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        early = await running.connect(FROM_CLIENT + b"EHLO peer.example\r\n")
        assert (await early.line()).startswith(b"220 ")
        assert (await early.reply()).startswith(b"250 ")
        await early.ask(MAIL)
        await early.send(RCPT + b"\r\n")
        assert (await early.lines())[0] == b"550-5.7.1 Mail is refused: spoke before the greeting"
        early.close()
        began = trio.current_time()
        patient = await running.connect(FROM_CLIENT)
        assert (await patient.line()).startswith(b"220 ")
        assert trio.current_time() - began == pytest.approx(5, abs=1)
        assert (await patient.ask(b"STARTTLS")).startswith(b"220 ")
        began = trio.current_time()
        await patient.start_tls()
        await patient.ask(b"EHLO peer.example")
        assert await message(patient) == b"250 2.0.0 Queued"
        assert trio.current_time() - began < 1
        assert told.checked["pregreet", "early"] == 1


async def test_a_delay_of_ours_is_not_counted_as_the_client_s(server: DnsServer, nursery: trio.Nursery) -> None:
    """Else a delay as long as greeting_timeout would turn everybody away, patient or not."""
    legacy = await serving(nursery)
    making, told = mx_screener(
        server, nursery, checks=Checks(False, False, False, pregreet=True), settings=Screening(pregreet_delay=0.3)
    )
    async with receiving(
        pool_of(legacy.address),
        limits=limits(greeting_timeout=0.3),
        rules=NOBODY_TRUSTED,
        proxies=PROXIES,
        screener=making,
    ) as running:
        client = await greeted(running, FROM_CLIENT)
        assert await message(client) == b"250 2.0.0 Queued"
        assert not told.checked["pregreet", "early"]


async def test_a_client_that_goes_before_the_greeting_has_not_spoken(server: DnsServer, nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    making, told = mx_screener(
        server,
        nursery,
        checks=Checks(dnsbl=True, reverse_dns=False, helo=False),
        settings=Screening(pregreet_delay=5.0),
    )
    async with receiving(pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        with trio.fail_after(3):
            for leave in (Client.close, Client.reset):
                client = await running.connect(FROM_CLIENT)
                with trio.fail_after(5):
                    while not server.questions(f"{REVERSED}.bl.test"):
                        await wait_all_tasks_blocked(0.01)
                leave(client)
            await running.quiet()
        assert not told.checked["pregreet", "early"]


# -- links ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def looking_at_links(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes, legacy: LegacyServer, settings: Screening
) -> AsyncIterator[Gate]:
    server.says(f"bad-site.com.{ZONE}", "A", has("127.0.0.8"))
    server.says(f"slow-site.com.{ZONE}", "A", SILENT)
    checks = Checks(dnsbl=False, reverse_dns=False, helo=False, surbl=True)
    making, _ = mx_screener(server, nursery, checks=checks, settings=settings)
    links = Links((ZONE,), server.resolver(0.5), Told(), nursery, 0.5)
    links.suffixes = suffixes
    async with receiving(
        pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making, links=links
    ) as running:
        yield running


LINK = b"Subject: x\r\n\r\nsee http://www.%s/\r\n"


async def test_a_message_with_a_listed_link_does_not_stand(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes
) -> None:
    """The backend's connection is cut before the final dot, so it keeps nothing; the next message is not its heir."""
    legacy = await serving(nursery)
    async with looking_at_links(server, nursery, suffixes, legacy, Screening()) as running:
        client = await greeted(running, FROM_CLIENT)
        await client.ask(MAIL)
        await client.ask(RCPT)
        await client.ask(b"DATA")
        await client.send(LINK % b"bad-site.com" + b".\r\n")
        first, second = await client.lines()
        assert first == b"550-5.7.1 Mail is refused: link to bad-site.com, listed by multi.example (127.0.0.8)"
        assert second.startswith(b"550 5.7.1 ")
        await legacy.talks[0].cut.wait()
        assert not legacy.messages
        assert not legacy.talks[0].heard.endswith(b".\r\n")
        for body in (LINK % b"good-site.com", LINK % b"slow-site.com"):
            assert await message(client, body) == b"250 2.0.0 Queued"
        (session,) = running.trace.sessions
        assert [values[0] for values in session.of("message")] == ["rejected", "accepted", "accepted"]
        assert session.of("screened")[0][3] == "eve@sender.example"
        assert (len(legacy.talks), len(legacy.messages)) == (2, 2)


async def test_a_link_that_chunks_cut_apart(server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes) -> None:
    """RFC 3030: the message is one, however it comes."""
    legacy = await serving(nursery)
    async with looking_at_links(server, nursery, suffixes, legacy, Screening()) as running:
        client = await greeted(running, FROM_CLIENT)
        for site, said in ((b"bad-site.com", b"550 5.7.1 "), (b"good-site.com", b"250 2.0.0 ")):
            await client.ask(MAIL)
            await client.ask(RCPT)
            text = LINK % site
            cut = text.index(b"-site")
            await client.send(b"BDAT %d\r\n" % cut + text[:cut])
            assert (await client.reply()).startswith(b"250 ")
            await client.send(b"BDAT %d LAST\r\n" % (len(text) - cut) + text[cut:])
            assert (await client.reply()).startswith(said)
        assert [b"good-site" in each for each in legacy.messages] == [True]


async def test_what_the_postmaster_gets_is_not_looked_at(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes
) -> None:
    """Whoever complains quotes the link. What goes to others too is looked at."""
    legacy = await serving(nursery)
    async with looking_at_links(server, nursery, suffixes, legacy, Screening()) as running:
        client = await greeted(running, FROM_CLIENT)
        for name in (b"postmaster", b"ABUSE"):
            rcpt = b"RCPT TO:<" + name + b"@example.org>"
            assert await message(client, LINK % b"bad-site.com", rcpt=rcpt) == b"250 2.0.0 Queued"
        assert not server.questions(f"bad-site.com.{ZONE}")
        await client.ask(MAIL)
        await client.ask(b"RCPT TO:<postmaster>")
        await client.ask(RCPT)
        await client.ask(b"DATA")
        assert (await client.ask(LINK % b"bad-site.com" + b".")).startswith(b"550 5.7.1 ")


# -- what the message gets --------------------------------------------------------------------------------


async def test_the_fields_at_a_message_s_head(server: DnsServer, nursery: trio.Nursery) -> None:
    name_client(server, "mx.sender.example")
    server.says("sender.example", "TXT", has(f'"v=spf1 ip4:{CLIENT} -all"'))
    legacy = await serving(nursery)
    making, _ = mx_screener(
        server,
        nursery,
        checks=Checks(dnsbl=False, reverse_dns=True, helo=False, spf=True),
        settings=Screening(helo=Action.OFF),
    )
    forged = b"Authentication-Results: Mail.example.org; spf=pass smtp.mailfrom=boss@example.org\r\n"
    async with receiving(pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        client = await secured(running, FROM_CLIENT)
        assert await message(client, forged + BODY) == b"250 2.0.0 Queued"
        session = running.trace.sessions[0]
        facts: Any = session.of("handshaken")[0][0]
    (kept,) = legacy.messages
    kept = re.sub(rb"\r\n\t", b" ", kept)
    results, received, subject, *_ = kept.split(b"\r\n")
    assert results == (
        b"Authentication-Results: mail.example.org; spf=pass smtp.mailfrom=eve@sender.example; "
        b'spf=none reason="no SPF record" smtp.helo=peer.example; iprev=pass policy.iprev=198.51.100.7'
    )
    where, _, when = received.partition(b"; ")
    assert where == (
        b"Received: from peer.example (mx.sender.example [198.51.100.7]) by mail.example.org with ESMTPS id Ab3x"
        + f" tls {facts.cipher} ({facts.version})".encode()
    )
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", when)
    assert subject == b"Subject: one"


async def test_the_fields_of_mail_in_clear_by_who_is_known(nursery: trio.Nursery) -> None:
    legacy = await serving(nursery)
    async with receiving(pool_of(legacy.address)) as running:
        client = await running.connect()
        await client.line()
        await client.ask(b"HELO =(peer\xff)=")
        assert await message(client) == b"250 2.0.0 Queued"
    kept = re.sub(rb"\r\n\t", b" ", legacy.messages[0])
    assert kept.startswith(
        b"Authentication-Results: mail.example.org; none\r\n"
        b"Received: from [127.0.0.1] (unknown [127.0.0.1]) (helo==?peer??=) by mail.example.org with SMTP id Ab3x; "
    )


async def test_a_name_that_is_late_is_waited_for_where_only_the_field_needs_it(
    server: DnsServer, nursery: trio.Nursery
) -> None:
    """The postmaster's mail isn't screened, so nobody has waited: a wrong "temperror" would be ours."""
    go = trio.Event()
    name_client(server, "mx.sender.example")
    server.says(POINTER, "PTR", Reply(records=("mx.sender.example.",), held=go))
    legacy = await serving(nursery)
    checks = Checks(dnsbl=False, reverse_dns=True, helo=False)
    making, _ = mx_screener(server, nursery, checks=checks, settings=Screening())
    async with receiving(pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        client = await greeted(running, FROM_CLIENT)
        await client.ask(MAIL)
        await client.ask(b"RCPT TO:<postmaster@example.org>")
        await client.send(b"DATA\r\n")
        await wait_all_tasks_blocked(0.05)
        go.set()
        assert (await client.reply()).startswith(b"354 ")
        assert (await client.ask(BODY + b".")).startswith(b"250 ")
    assert b"iprev=pass" in legacy.messages[0]
    assert b"(mx.sender.example [198.51.100.7])" in legacy.messages[0]
    assert HOSTNAME.encode() in legacy.messages[0]
