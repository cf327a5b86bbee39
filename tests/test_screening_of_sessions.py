"""The DNS checks within sessions: clients that a balancer brings from public addresses, and a DNS server of our own."""

from __future__ import annotations

import pytest
import trio

from tests.admission.look_ups import ALL, CLIENT, POINTER, REVERSED, list_client, name_client, screener
from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply
from tests.gate import Client, Gate, gate, limits, pool_of
from tests.legacy_server import LegacyServer, Script, Smtp, imap, pop3
from tlsgate.admission.look_ups import Checks
from tlsgate.admission.rules import AddressRules
from tlsgate.config import Bans, ClientAddress, Dnsbl, Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

NOBODY_TRUSTED = AddressRules()
FROM_CLIENT = f"PROXY TCP4 {CLIENT} 192.0.2.1 4711 587\r\n".encode()
PROXIES = ("127.0.0.1",)
XCLIENT = (b"AUTH PLAIN LOGIN", b"XCLIENT NAME ADDR PORT HELO LOGIN REVERSE_NAME")
each_mode = pytest.mark.parametrize("tls", list(TlsMode))


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


async def serving(nursery: trio.Nursery, script: Script | None = None) -> LegacyServer:
    legacy: LegacyServer = await nursery.start(LegacyServer(script or Smtp()).serve)
    return legacy


async def told_of_the_end(running: Gate, client: Client) -> tuple[object, ...]:
    """The client leaves; its confirmed name and what was found, as the session's end tells it."""
    client.close()
    await running.quiet()
    (session,) = running.trace.sessions
    names = [name for name, _ in session.calls]
    assert names[-2:] == ["client_known", "ended"]
    return session.of("client_known")[0]


# -- DNS lists --------------------------------------------------------------------------------------


@each_mode
async def test_a_listed_client_is_refused_before_its_password_is_looked_at(
    server: DnsServer, nursery: trio.Nursery, tls: TlsMode
) -> None:
    """It isn't a guess either: somebody whose provider is listed mustn't be banned on top."""
    list_client(server)
    legacy = await serving(nursery)
    making, told = screener(server, nursery)
    async with gate(
        Protocol.SUBMISSION,
        tls,
        pool_of(legacy.address),
        rules=NOBODY_TRUSTED,
        bans=Bans(failures=1),
        proxies=PROXIES,
        screener=making,
    ) as running:
        for _ in range(2):
            client = await running.secure(FROM_CLIENT)
            said = await client.log_in()
            assert said == b"554 5.7.1 mail.example.org Your network is on a block list: bl.test"
            assert await client.ended()
        await running.quiet()
        assert not legacy.talks
        assert not running.rooms.told.banned_networks
        for session in running.trace.sessions:
            assert session.of("screened") == [("reject", 3, "listed by bl.test (127.0.0.2)")]
            assert session.end == ("no_login", "dnsbl")
            assert not session.of("auth_failed")
        assert told.checked["dnsbl", "reject"] == 2


async def test_an_allow_list_that_does_not_answer_puts_a_listed_client_off(
    server: DnsServer, nursery: trio.Nursery
) -> None:
    list_client(server)
    server.says(f"{REVERSED}.wl.test", "A", SERVFAIL)
    zones = [
        Dnsbl(zone=zone, weight=weight, protocols=(Protocol.SUBMISSION,))
        for zone, weight in (("bl.test", 3), ("wl.test", -2))
    ]
    legacy = await serving(nursery)
    making, told = screener(server, nursery, *zones)
    async with gate(
        Protocol.SUBMISSION,
        TlsMode.STARTTLS,
        pool_of(legacy.address),
        rules=NOBODY_TRUSTED,
        proxies=PROXIES,
        screener=making,
    ) as running:
        client = await running.secure(FROM_CLIENT)
        said = await client.log_in()
        assert said == b"421 4.7.1 mail.example.org Your network is on a block list for now: bl.test"
        assert await client.ended()
        await running.quiet()
        assert running.trace.sessions[0].end == ("no_login", "dnsbl_tempfail")
        assert told.checked["dnsbl", "tempfail"] == 1


async def test_a_client_that_is_not_listed_is_served_and_asked_for_once(
    server: DnsServer, nursery: trio.Nursery
) -> None:
    name_client(server)
    legacy = await serving(nursery)
    making, told = screener(server, nursery)
    async with gate(
        Protocol.SUBMISSION,
        TlsMode.IMPLICIT,
        pool_of(legacy.address),
        rules=NOBODY_TRUSTED,
        proxies=PROXIES,
        screener=making,
    ) as running:
        client = await running.secure(FROM_CLIENT)
        assert (await client.log_in("wrong")).startswith(client.speech.refused)
        assert (await client.log_in()).startswith(client.speech.granted)
        await told.heard("reverse_dns", "confirmed")
        assert await told_of_the_end(running, client) == ("laptop.example.net", "")
        assert server.questions(f"{REVERSED}.bl.test") == told.checked["dnsbl", "pass"] == 1


async def test_a_silent_dns_costs_a_submission_its_time_out_and_no_more(
    nursery: trio.Nursery,
) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    legacy = await serving(nursery)
    making, _ = screener(server, nursery, timeout=0.5)
    async with gate(
        Protocol.SUBMISSION,
        TlsMode.IMPLICIT,
        pool_of(legacy.address),
        rules=NOBODY_TRUSTED,
        proxies=PROXIES,
        screener=making,
    ) as running:
        began = trio.current_time()
        client = await running.logged_in(FROM_CLIENT)
        assert trio.current_time() - began < 2.0
        assert await told_of_the_end(running, client) == (None, "")


async def test_a_dns_slower_than_the_login_time_out_ends_nothing_late(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    legacy = await serving(nursery)
    making, _ = screener(server, nursery, timeout=50.0)
    async with gate(
        Protocol.SUBMISSION,
        TlsMode.IMPLICIT,
        pool_of(legacy.address),
        limits(login_timeout=1.0),
        rules=NOBODY_TRUSTED,
        proxies=PROXIES,
        screener=making,
    ) as running:
        client = await running.secure(FROM_CLIENT)
        with trio.fail_after(5):
            await client.log_in()
            while await client.line():
                pass
        await running.quiet()
        assert running.trace.sessions[0].end == ("timeout", "login_timeout")


async def test_who_leaves_before_an_answer_leaves_no_look_up_behind(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    legacy = await serving(nursery)
    async with trio.open_nursery() as asking:
        making, told = screener(server, asking, timeout=50.0)
        async with gate(
            Protocol.SUBMISSION,
            TlsMode.STARTTLS,
            pool_of(legacy.address),
            rules=NOBODY_TRUSTED,
            proxies=PROXIES,
            screener=making,
        ) as running:
            client = await running.secure(FROM_CLIENT)
            assert asking.child_tasks
            client.reset()
            await running.quiet()
    assert not told.checked


async def test_trusted_clients_and_the_balancer_itself_are_not_asked_for(
    server: DnsServer, nursery: trio.Nursery
) -> None:
    legacy = await serving(nursery)
    making, told = screener(server, nursery)
    async with gate(
        Protocol.SUBMISSION, TlsMode.IMPLICIT, pool_of(legacy.address), proxies=PROXIES, screener=making
    ) as running:
        client = await running.logged_in(b"PROXY UNKNOWN\r\n")
        client.close()
        await running.quiet()
        assert not running.trace.sessions[0].of("client_known")
        assert not (server.asked or told.checked)


# -- names ------------------------------------------------------------------------------------------


async def test_a_backend_is_told_the_confirmed_name(server: DnsServer, nursery: trio.Nursery) -> None:
    name_client(server)
    legacy = await serving(nursery, Smtp({b"XCLIENT": b"220 Ok\r\n"}, keywords=XCLIENT))
    making, _ = screener(server, nursery, checks=Checks(dnsbl=False, reverse_dns=True, helo=False))
    pool = pool_of(legacy.address, client_address=ClientAddress.XCLIENT)
    async with gate(
        Protocol.SUBMISSION, TlsMode.IMPLICIT, pool, rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making
    ) as running:
        client = await running.logged_in(FROM_CLIENT)
        assert await told_of_the_end(running, client) == ("laptop.example.net", "")
    assert b" NAME=laptop.example.net" in legacy.talks[0].heard


@pytest.mark.parametrize(
    ("reply", "name"), [(Reply(), b"[UNAVAILABLE]"), (SERVFAIL, b"[TEMPUNAVAIL]"), (SILENT, b"[TEMPUNAVAIL]")]
)
async def test_a_backend_is_told_why_there_is_no_name(
    server: DnsServer, nursery: trio.Nursery, reply: Reply, name: bytes
) -> None:
    server.says(POINTER, "PTR", reply)
    legacy = await serving(nursery, Smtp({b"XCLIENT": b"220 Ok\r\n"}, keywords=XCLIENT))
    making, _ = screener(server, nursery, timeout=0.5)
    pool = pool_of(legacy.address, client_address=ClientAddress.XCLIENT)
    async with gate(
        Protocol.SUBMISSION, TlsMode.IMPLICIT, pool, rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making
    ) as running:
        await running.logged_in(FROM_CLIENT)
    assert b" NAME=" + name in legacy.talks[0].heard


async def test_a_login_waits_for_no_name_that_nobody_is_told(server: DnsServer, nursery: trio.Nursery) -> None:
    """A name that is only for the log costs a login nothing: none is waited for, be it as slow as it likes."""
    server.says(POINTER, "PTR", SILENT)
    legacy = await serving(nursery)
    making, _ = screener(server, nursery, timeout=50.0)
    async with gate(
        Protocol.SUBMISSION,
        TlsMode.IMPLICIT,
        pool_of(legacy.address),
        rules=NOBODY_TRUSTED,
        proxies=PROXIES,
        screener=making,
    ) as running:
        with trio.fail_after(10):
            client = await running.logged_in(FROM_CLIENT)
            assert await told_of_the_end(running, client) == (None, "")


@pytest.mark.parametrize(("protocol", "script"), [(Protocol.IMAP, imap), (Protocol.POP3, pop3)])
async def test_a_relayed_login_never_waits_and_its_look_up_ends_with_it(
    nursery: trio.Nursery, protocol: Protocol, script: Script
) -> None:
    server = await DnsServer().serve(nursery)
    server.says(POINTER, "PTR", SILENT)
    legacy = await serving(nursery, script)
    async with trio.open_nursery() as asking:
        making, told = screener(server, asking, checks=ALL, timeout=50.0)
        async with gate(
            protocol, TlsMode.IMPLICIT, pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making
        ) as running:
            with trio.fail_after(10):
                client = await running.logged_in(FROM_CLIENT)
            assert asking.child_tasks
            assert (await told_of_the_end(running, client))[0] is None
            assert running.trace.sessions[0].end[0] == "ok"
    assert not told.checked["reverse_dns", "temporary_failure"]


async def test_the_log_of_a_relayed_session_has_the_name_that_came_late(
    server: DnsServer, nursery: trio.Nursery
) -> None:
    go = trio.Event()
    name_client(server)
    server.says(POINTER, "PTR", Reply(records=("laptop.example.net.",), held=go))
    legacy = await serving(nursery, pop3)
    making, told = screener(server, nursery, checks=Checks(dnsbl=False, reverse_dns=True, helo=False))
    async with gate(
        Protocol.POP3, TlsMode.IMPLICIT, pool_of(legacy.address), rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making
    ) as running:
        client = await running.logged_in(FROM_CLIENT)
        go.set()
        await told.heard("reverse_dns", "confirmed")
        assert await told_of_the_end(running, client) == ("laptop.example.net", "")
