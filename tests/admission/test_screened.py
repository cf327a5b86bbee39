"""One client's look-ups: what they lead to, how long anybody waits, and that none outlives its session."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.admission.look_ups import ALL, CLIENT, POINTER, REVERSED, USERS, list_client, name_client, screener
from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tlsgate.admission.dnsbl import DnsLists, Listing
from tlsgate.admission.door import Entry
from tlsgate.admission.look_ups import Checks
from tlsgate.admission.network import Network, parse_client
from tlsgate.admission.reverse_dns import Confirmed, TemporaryFailure, Unconfirmed
from tlsgate.admission.rules import Standing
from tlsgate.admission.screened import Screened, Screener
from tlsgate.admission.screening import Outcome
from tlsgate.config import Action, Dnsbl, Protocol
from tlsgate.dns import Failure, Missing

_NEVER = math.inf


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


@pytest.fixture
def standing() -> MockClock:
    """Time passes only when a test says so."""
    return MockClock()


def entry(client: str = CLIENT, standing: Standing = Standing.STRANGER) -> Entry:
    return Entry(parse_client(client), Network(0, 0, 0), standing, ())


def begun(screener: Screener, client: str = CLIENT) -> Screened:
    screened = screener.begin(entry(client))
    assert screened is not None
    return screened


# -- who is asked for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "standing"),
    [
        (CLIENT, Standing.ALLOWED),
        (CLIENT, Standing.TRUSTED),
        ("unix", Standing.ALLOWED),
        ("127.0.0.1", Standing.STRANGER),
        ("10.1.2.3", Standing.STRANGER),
        ("100.64.0.1", Standing.STRANGER),
        ("::1", Standing.STRANGER),
        ("fd00::1", Standing.STRANGER),
        ("fe80::1", Standing.STRANGER),
        ("::ffff:192.168.1.1", Standing.STRANGER),
    ],
)
async def test_who_is_known_or_private_is_not_asked_for(
    server: DnsServer, nursery: trio.Nursery, client: str, standing: Standing
) -> None:
    making, _ = screener(server, nursery)
    before = len(nursery.child_tasks)
    assert making.begin(entry(client, standing)) is None
    assert len(nursery.child_tasks) == before


@pytest.mark.parametrize("client", [CLIENT, f"::ffff:{CLIENT}"])
async def test_strangers_are_asked_for_at_once(server: DnsServer, nursery: trio.Nursery, client: str) -> None:
    """Beside the handshake: when somebody wants to know, the answer is there."""
    list_client(server)
    making, told = screener(server, nursery)
    begun(making, client)
    await told.heard("bl.test", "listed")
    await told.heard("reverse_dns", "missing")


async def test_only_what_is_to_be_checked_is_asked(server: DnsServer, nursery: trio.Nursery) -> None:
    name_client(server)
    making, told = screener(server, nursery, checks=Checks(dnsbl=False, reverse_dns=True, helo=False))
    screened = begun(making)
    screened.greeted("gate.example.org")
    assert await screened.name(_NEVER) == Confirmed("laptop.example.net")
    assert (await screened.decision(_NEVER)).outcome is Outcome.PASS
    assert screened.found == ""
    assert told.checked == {("reverse_dns", "confirmed"): 1}
    making, told = screener(server, nursery, checks=Checks(dnsbl=True, reverse_dns=False, helo=False))
    screened = begun(making)
    assert await screened.name(_NEVER) == Missing()
    assert (await screened.decision(_NEVER)).outcome is Outcome.PASS
    assert told.checked == {("bl.test", "not_listed"): 1, ("dnsbl", "pass"): 1}


# -- what it leads to -------------------------------------------------------------------------------


async def test_a_listed_client_is_rejected_and_counted_once(server: DnsServer, nursery: trio.Nursery) -> None:
    list_client(server)
    making, told = screener(server, nursery)
    screened = begun(making)
    for _ in range(2):
        decision = await screened.decision(_NEVER)
        assert decision.outcome is Outcome.REJECT
    assert decision.reasons == ("listed by bl.test (127.0.0.2)",)
    assert (screened.lists, told.checked["dnsbl", "reject"]) == ("bl.test", 1)
    assert screened.found.startswith("dnsbl bl.test=127.0.0.2")


async def test_only_lists_of_the_bad_are_named_to_the_client(server: DnsServer, nursery: trio.Nursery) -> None:
    """Who is told that an allow list is to blame goes to the wrong people."""
    for zone in ("wl.test", "bl.test", "bl2.test"):
        list_client(server, zone)
    names = {"wl.test": -1, "bl.test": 2, "bl2.test": 3}
    zones = [Dnsbl(zone=zone, weight=weight, protocols=USERS.protocols) for zone, weight in names.items()]
    making, _ = screener(server, nursery, *zones)
    screened = begun(making)
    assert (await screened.decision(_NEVER)).outcome is Outcome.REJECT
    assert screened.lists == "bl.test, bl2.test"


async def test_a_customer_s_key_is_shown_to_nobody(server: DnsServer, nursery: trio.Nursery) -> None:
    key = "0123456789abcdef0123456789abcdef"
    list_client(server, f"{key}.bl.test")
    server.says(f"{REVERSED}.{key}.wl.test", "A", SERVFAIL)
    zones = [
        Dnsbl(zone=f"{key}.{each}.test", weight=w, protocols=USERS.protocols) for each, w in (("bl", 3), ("wl", -1))
    ]
    making, _ = screener(server, nursery, *zones)
    screened = begun(making)
    decision = await screened.decision(_NEVER)
    assert (decision.outcome, screened.lists) == (Outcome.TEMPFAIL, "bl.test")
    assert decision.reasons == ("listed by bl.test (127.0.0.2)", "no answer of wl.test")
    assert key not in screened.found


@pytest.mark.parametrize("action", [Action.SCORE, Action.REJECT])
async def test_names_never_turn_a_user_away(server: DnsServer, nursery: trio.Nursery, action: Action) -> None:
    """People's laptops have no names, and say anything in EHLO: that is for the log only, whatever mx does with it."""
    making, told = screener(server, nursery, reverse_dns=action)
    screened = begun(making)
    screened.greeted("GATE.example.org")
    screened.greeted("other.example.org")
    assert await screened.name(_NEVER) == Missing()
    assert (await screened.decision(_NEVER)).outcome is Outcome.PASS
    assert screened.found == "reverse_dns missing; helo our_name"
    assert told.checked["helo", "our_name"] == told.checked["reverse_dns", "missing"] == 1


async def test_a_name_that_does_not_lead_back_is_told_as_such(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says(POINTER, "PTR", has("bank.example."))
    server.says("bank.example", "A", has("192.0.2.1"))
    making, told = screener(server, nursery)
    screened = begun(making)
    assert await screened.name(_NEVER) == Unconfirmed("bank.example")
    assert (screened.confirmed_name, screened.found) == (None, "reverse_dns unconfirmed=bank.example")
    assert told.checked["reverse_dns", "unconfirmed"] == 1


async def test_a_name_that_is_only_for_the_backend_is_no_finding(server: DnsServer, nursery: trio.Nursery) -> None:
    making, _ = screener(server, nursery, reverse_dns=Action.OFF)
    screened = begun(making)
    assert await screened.name(_NEVER) == Missing()
    assert screened.found == ""


@pytest.mark.parametrize(("name", "found"), [("[198.51.100.7]", ""), ("laptop.example", ""), ("pc", "helo bare_word")])
async def test_names_in_ehlo_are_judged_without_the_dns(
    server: DnsServer, nursery: trio.Nursery, name: str, found: str
) -> None:
    making, _ = screener(server, nursery, checks=Checks(dnsbl=False, reverse_dns=False, helo=True))
    screened = begun(making)
    screened.greeted(name)
    assert screened.found == found
    await wait_all_tasks_blocked()
    assert not server.asked


# -- the DNS in trouble -----------------------------------------------------------------------------


async def test_a_silent_dns_holds_nobody_up_beyond_its_time_and_turns_nobody_away(
    clock: MockClock, nursery: trio.Nursery
) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    making, told = screener(server, nursery, timeout=0.2)
    screened = begun(making)
    began = trio.current_time()
    assert (await screened.decision(_NEVER)).outcome is Outcome.PASS
    assert await screened.name(_NEVER) == TemporaryFailure(Failure.TIMEOUT)
    assert trio.current_time() - began < 1.0
    assert told.checked["bl.test", "timeout"] == 1
    assert (screened.confirmed_name, screened.found, screened.lists) == (None, "", "")


async def test_nobody_waits_beyond_the_session_s_own_deadline(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    making, _ = screener(server, nursery, timeout=50.0)
    screened = begun(making)
    with trio.fail_after(5):
        soon = trio.current_time() + 0.05
        assert (await screened.decision(soon)).outcome is Outcome.PASS
        assert await screened.name(soon) == TemporaryFailure(Failure.TIMEOUT)
    screened.end()


async def test_a_name_takes_no_longer_than_one_time_out(nursery: trio.Nursery, standing: MockClock) -> None:
    """Two questions behind each other, each within the time-out: together they would hold a login up for two."""
    server = await DnsServer().serve(nursery)
    go = trio.Event()
    server.says(POINTER, "PTR", Reply(records=("laptop.example.net.",), held=go))
    server.says("laptop.example.net", "A", SILENT)
    making, _ = screener(server, nursery, timeout=1.0)
    screened = begun(making)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(screened.name, _NEVER)
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


async def test_what_is_known_is_there_without_waiting(server: DnsServer, nursery: trio.Nursery) -> None:
    go = trio.Event()
    name_client(server)
    server.says(POINTER, "PTR", Reply(records=("laptop.example.net.",), held=go))
    making, _ = screener(server, nursery)
    screened = begun(making)
    assert screened.confirmed_name is None
    go.set()
    await screened.name(_NEVER)
    assert screened.confirmed_name == "laptop.example.net"


async def test_a_session_that_ends_leaves_no_task(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    async with trio.open_nursery() as asking:
        making, told = screener(server, asking, timeout=50.0)
        screened = begun(making)
        await wait_all_tasks_blocked()
        assert asking.child_tasks
        screened.end()
    assert not told.checked  # what nobody waited for was no check


async def test_a_fault_of_ours_is_told_and_turns_nobody_away(
    server: DnsServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers choose what their zones hold: whatever we can't digest must not end the gateway."""

    async def broken(self: DnsLists, client: object, protocol: Protocol) -> Listing:
        async with trio.open_nursery():
            raise ValueError(f"something secret about {client}")

    monkeypatch.setattr(DnsLists, "look_up", broken)
    making, told = screener(server, nursery, checks=ALL)
    screened = begun(making)
    assert (await screened.decision(_NEVER)).outcome is Outcome.PASS
    assert told.events == ["dnsbl ValueError"]
    screened.end()
