"""What is found of another mail server: all of it weighs, and what isn't known puts mail off at most."""

from __future__ import annotations

import math

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.admission.look_ups import ALL, CLIENT, POINTER, LookUpRecords, list_client, name_client, screener
from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tlsgate.admission import helo
from tlsgate.admission.door import Entry
from tlsgate.admission.look_ups import Checks
from tlsgate.admission.network import Network, parse_client
from tlsgate.admission.rules import Standing
from tlsgate.admission.screened import Screened, Screener
from tlsgate.admission.screening import Finding, Outcome, decide
from tlsgate.config import Action, Dnsbl, Protocol, Screening

_NEVER = math.inf
_SERVERS = Dnsbl(zone="bl.test", protocols=(Protocol.MX,))
_NAMES = Checks(dnsbl=False, reverse_dns=False, helo=True)
_REVERSE = Checks(dnsbl=False, reverse_dns=True, helo=False)


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


def of_servers(
    server: DnsServer,
    nursery: trio.Nursery,
    *zones: Dnsbl,
    checks: Checks = ALL,
    settings: Screening | None = None,
    timeout: float = 5.0,
) -> tuple[Screener, LookUpRecords]:
    """``timeout``: seconds."""
    making, told = screener(server, nursery, *(zones or (_SERVERS,)), checks=checks, timeout=timeout)
    return replace(making, protocol=Protocol.MX, settings=settings or Screening()), told


def begun(screener: Screener, client: str = CLIENT) -> Screened:
    screened = screener.begin(Entry(parse_client(client), Network(0, 0, 0), Standing.STRANGER, ()))
    assert screened is not None
    return screened


def scores(findings: list[Finding]) -> dict[str, int]:
    """By check, of what is sure."""
    assert len({each.check for each in findings}) == len(findings)
    return {each.check: each.score for each in findings if not each.temporary}


# -- all that is found ------------------------------------------------------------------------------


async def test_everything_counts_against_a_server(server: DnsServer, nursery: trio.Nursery) -> None:
    list_client(server)
    making, told = of_servers(server, nursery)
    screened = begun(making)
    screened.pregreeted()
    screened.greeted("nowhere.example")
    assert scores(await screened.findings(_NEVER)) == {"pregreet": 3, "dnsbl": 3, "reverse_dns": 2, "helo": 1}
    assert screened.found == "dnsbl bl.test=127.0.0.2; reverse_dns missing; helo unknown_host; pregreet"
    assert told.checked == {
        ("bl.test", "listed"): 1,
        ("reverse_dns", "missing"): 1,
        ("helo", "unknown_host"): 1,
        ("pregreet", "early"): 1,
    }


async def test_nothing_is_against_a_good_server(server: DnsServer, nursery: trio.Nursery) -> None:
    name_client(server, "mail.example.net")
    making, told = of_servers(server, nursery)
    screened = begun(making)
    screened.greeted("mail.example.net")
    assert await screened.findings(_NEVER) == []
    assert screened.found == ""
    assert told.checked["helo", "client"] == 1


async def test_a_second_transaction_asks_nothing_anew(server: DnsServer, nursery: trio.Nursery) -> None:
    making, told = of_servers(server, nursery)
    screened = begun(making)
    screened.greeted("nowhere.example")
    first = await screened.findings(_NEVER)
    asked, counted = len(server.asked), dict(told.checked)
    screened.greeted("nowhere.example")
    assert await screened.findings(_NEVER) == first
    assert (len(server.asked), dict(told.checked)) == (asked, counted)


async def test_the_lists_of_users_say_nothing_of_servers(server: DnsServer, nursery: trio.Nursery) -> None:
    """Who lists dial-up addresses lists no mail server for it, and the other way round."""
    list_client(server)
    users = Dnsbl(zone="bl.test", protocols=(Protocol.SUBMISSION,))
    making, _ = of_servers(server, nursery, users, checks=Checks(dnsbl=True, reverse_dns=False, helo=False))
    screened = begun(making)
    assert await screened.findings(_NEVER) == []
    assert not server.asked


async def test_what_is_asked_for_the_backend_alone_counts_nothing(server: DnsServer, nursery: trio.Nursery) -> None:
    making, _ = of_servers(server, nursery, checks=_REVERSE, settings=Screening(reverse_dns=Action.OFF))
    screened = begun(making)
    screened.greeted("nowhere.example")
    assert await screened.findings(_NEVER) == []
    assert server.questions("nowhere.example") == 0


@pytest.mark.parametrize("action", [Action.LOG, Action.SCORE, Action.REJECT])
async def test_the_config_says_what_names_do(server: DnsServer, nursery: trio.Nursery, action: Action) -> None:
    making, _ = of_servers(server, nursery, settings=Screening(reverse_dns=action, helo=action))
    screened = begun(making)
    screened.greeted("nowhere.example")
    assert {each.check: each.action for each in await screened.findings(_NEVER)} == {
        "reverse_dns": action,
        "helo": action,
    }


# -- the name in HELO -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "result", "score"),
    [
        ("mail.example.net", "client", None),
        ("[198.51.100.7]", "client", None),
        ("other.example.net", "elsewhere", None),
        ("nowhere.example", "unknown_host", 1),
        ("pc", "bare_word", 1),
        ("[192.0.2.1]", "wrong_literal", 2),
        ("GATE.example.org", "our_name", 3),
    ],
)
@pytest.mark.parametrize("client", [CLIENT, f"::ffff:{CLIENT}"])
async def test_the_name_is_judged_by_its_form_and_by_the_dns(
    server: DnsServer, nursery: trio.Nursery, client: str, name: str, result: str, score: int | None
) -> None:
    server.says("mail.example.net", "A", has(CLIENT))
    server.says("other.example.net", "MX", has("10 mx.example.net."))
    making, told = of_servers(server, nursery, checks=_NAMES)
    screened = begun(making, client)
    screened.greeted(name)
    assert scores(await screened.findings(_NEVER)) == ({} if score is None else {"helo": score})
    assert told.checked == {("helo", result): 1}


async def test_the_last_name_counts(server: DnsServer, nursery: trio.Nursery) -> None:
    """After STARTTLS a client greets anew, and what it has said in clear counts no more (RFC 3207 4.2)."""
    server.says("mail.example.net", "A", has(CLIENT))
    making, told = of_servers(server, nursery, checks=_NAMES)
    screened = begun(making)
    for name, expected in [("pc", 1), ("mail.example.net", None), ("nowhere.example", 1), ("[198.51.100.7]", None)]:
        screened.greeted(name)
        assert scores(await screened.findings(_NEVER)) == ({} if expected is None else {"helo": expected})
    assert told.checked == {
        ("helo", "bare_word"): 1,
        ("helo", "client"): 2,
        ("helo", "unknown_host"): 1,
    }


async def test_a_name_that_counts_no_more_is_not_waited_for(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("slow.example", "A", Reply(held=trio.Event()))
    async with trio.open_nursery() as asking:
        making, told = of_servers(server, asking, checks=_NAMES, timeout=50.0)
        screened = begun(making)
        screened.greeted("slow.example")
        await wait_all_tasks_blocked()
        assert asking.child_tasks
        screened.greeted("pc")
    assert scores(await screened.findings(_NEVER)) == {"helo": 1}
    assert told.checked == {("helo", "bare_word"): 1}


# -- the word for Authentication-Results ------------------------------------------------------------


@pytest.mark.parametrize(
    ("pointer", "address", "word"),
    [
        (has("mail.example.net."), has(CLIENT), "pass"),
        (has("mail.example.net."), has("192.0.2.1"), "fail"),
        (Reply(), Reply(), "permerror"),
        (SERVFAIL, Reply(), "temperror"),
    ],
)
async def test_iprev(server: DnsServer, nursery: trio.Nursery, pointer: Reply, address: Reply, word: str) -> None:
    server.says(POINTER, "PTR", pointer)
    server.says("mail.example.net", "A", address)
    making, _ = of_servers(server, nursery, checks=_REVERSE)
    screened = begun(making)
    assert screened.iprev == "temperror"
    await screened.findings(_NEVER)
    assert screened.iprev == word


async def test_nothing_is_said_of_iprev_where_it_is_not_asked_for(server: DnsServer, nursery: trio.Nursery) -> None:
    making, _ = of_servers(server, nursery, checks=_NAMES)
    assert begun(making).iprev is None


# -- the DNS in trouble -----------------------------------------------------------------------------


@pytest.fixture
def standing() -> MockClock:
    """Time passes only when a test says so."""
    return MockClock()


async def test_a_name_in_helo_takes_no_longer_than_one_time_out(nursery: trio.Nursery, standing: MockClock) -> None:
    """Two questions behind each other, each within the time-out: together they would hold a recipient up for two."""
    server = await DnsServer().serve(nursery)
    go = trio.Event()
    server.says("mail.example.net", "A", Reply(held=go))
    server.says("mail.example.net", "MX", SILENT)
    making, _ = of_servers(server, nursery, checks=_NAMES, timeout=1.0)
    screened = begun(making)
    screened.greeted("mail.example.net")
    async with trio.open_nursery() as waiting:
        waiting.start_soon(screened.findings, _NEVER)
        await wait_all_tasks_blocked(0.05)
        standing.jump(0.1)
        go.set()
        await wait_all_tasks_blocked(0.05)
        assert waiting.child_tasks
        standing.jump(0.95)
        await wait_all_tasks_blocked(0.05)
        assert not waiting.child_tasks
        waiting.cancel_scope.cancel()
    screened.end()


@pytest.mark.parametrize(("action", "outcome"), [(Action.SCORE, Outcome.PASS), (Action.REJECT, Outcome.TEMPFAIL)])
async def test_a_silent_dns_costs_one_time_out_and_no_mail(
    clock: MockClock, nursery: trio.Nursery, action: Action, outcome: Outcome
) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    settings = Screening(reverse_dns=action, helo=action)
    making, _ = of_servers(server, nursery, settings=settings, timeout=0.3)
    screened = begun(making)
    screened.greeted("mail.example.net")
    began = trio.current_time()
    found = await screened.findings(_NEVER)
    assert trio.current_time() - began < 0.9
    assert {each.check for each in found if each.temporary} == {"dnsbl", "reverse_dns", "helo"}
    assert decide(found, settings).outcome is outcome
    assert screened.found == ""
    screened.end()


async def test_nobody_waits_beyond_the_deadline(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    making, _ = of_servers(server, nursery, timeout=50.0)
    screened = begun(making)
    screened.greeted("mail.example.net")
    soon = trio.current_time() + 2
    found = await screened.findings(soon)
    assert trio.current_time() == soon
    assert {each.check for each in found if each.temporary} == {"dnsbl", "reverse_dns", "helo"}
    assert decide(found, Screening()).outcome is Outcome.PASS
    screened.end()


@pytest.mark.parametrize(
    ("protocol", "off", "outcome"),
    [
        (Protocol.MX, False, Outcome.TEMPFAIL),
        (Protocol.MX, True, Outcome.REJECT),
        (Protocol.SUBMISSION, False, Outcome.REJECT),
    ],
)
async def test_an_allow_list_that_is_not_heard_in_time_puts_mail_off(
    server: DnsServer, nursery: trio.Nursery, protocol: Protocol, off: bool, outcome: Outcome
) -> None:
    """It might have had the client. One that is switched off, or of users, has nothing to say of it."""
    if off:
        for known in ("1.0.0.127.wl.test", "2.0.0.127.wl.test", "2.0.0.127.bl.test"):
            server.says(known, "A", has("127.0.0.2"))
    allowed = Dnsbl(zone="wl.test", weight=-2, protocols=(protocol,))
    making, told = of_servers(server, nursery, _SERVERS, allowed, timeout=50.0)
    if off:
        await making.look_ups.lists.test()
        assert told.events == ["wl.test off"]
    server.everything = SILENT
    screened = begun(making)
    screened.pregreeted()
    found = await screened.findings(trio.current_time() + 0.05)
    assert decide(found, Screening()).outcome is outcome
    unheard = "bl.test, wl.test" if outcome is Outcome.TEMPFAIL else "bl.test"
    assert f"no answer of {unheard}" in decide(found, Screening()).reasons
    screened.end()


async def test_a_session_that_ends_leaves_no_look_up_of_its_name(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    async with trio.open_nursery() as asking:
        making, told = of_servers(server, asking, timeout=50.0)
        screened = begun(making)
        screened.greeted("mail.example.net")
        await wait_all_tasks_blocked()
        assert len(asking.child_tasks) == 3
        screened.end()
    assert not told.checked


async def test_a_fault_of_ours_is_told_and_is_nobody_s_guilt(
    server: DnsServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers choose the name, and what is in the DNS for it."""

    async def broken(name: str, *_: object) -> None:
        async with trio.open_nursery():
            raise ValueError(f"something about {name}")

    monkeypatch.setattr(helo, "judge", broken)
    making, told = of_servers(server, nursery, checks=_NAMES)
    screened = begun(making)
    screened.greeted("mail.example.net")
    (finding,) = await screened.findings(_NEVER)
    assert finding.temporary
    assert told.events == ["helo ValueError"]
