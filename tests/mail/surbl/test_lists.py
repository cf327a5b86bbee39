"""URI lists, asked of a real DNS server: what is listed, what says nothing, and lists that aren't in their senses."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, ip_address

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tests.mail.surbl.told import ZONE, Told, healthy, lists
from tlsgate.admission.dnsbl import Result
from tlsgate.mail.surbl.lists import Listed


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


async def test_a_name_that_is_listed(server: DnsServer) -> None:
    """On two of the lists in one zone: phishing and abuse."""
    server.says(f"example.com.{ZONE}", "A", has("127.0.0.72"))
    told = Told()
    found = await lists(server, told).look_up("example.com", ZONE)
    assert found == Listed("example.com", ZONE, IPv4Address("127.0.0.72"))
    assert found.bits == 8 | 64
    assert told.results == Counter({(ZONE, "listed"): 1})


@pytest.mark.parametrize(
    ("address", "name"), [("198.51.100.7", "7.100.51.198"), ("2001:db8::1", "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2")]
)
async def test_addresses_are_reversed(server: DnsServer, address: str, name: str) -> None:
    server.says(f"{name}.{ZONE}", "A", has("127.0.0.16"))
    found = await lists(server, Told()).look_up(ip_address(address), ZONE)
    assert isinstance(found, Listed)
    assert found.bits == 16


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (Reply(), Result.NOT_LISTED),
        (SILENT, Result.TIMEOUT),
        (SERVFAIL, Result.FAILED),
        (has("192.0.2.80"), Result.OUTSIDE),
        (has("127.0.1.255"), Result.OUTSIDE),
    ],
    ids=["missing", "silent", "servfail", "elsewhere", "no-addresses-please"],
)
async def test_what_says_nothing(server: DnsServer, reply: Reply, result: Result) -> None:
    server.says(f"example.com.{ZONE}", "A", reply)
    told = Told()
    assert await lists(server, told, timeout=0.3).look_up("example.com", ZONE) is result
    assert told.results == Counter({(ZONE, result.value): 1})
    assert told.off == []


async def test_a_name_that_is_too_long_for_a_question(server: DnsServer) -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 54, "com"])
    assert await lists(server, Told()).look_up(name, ZONE) is Result.NOT_LISTED
    assert server.asked == []


@pytest.mark.parametrize("answer", ["127.0.0.1", "127.255.255.254"], ids=["surbl", "spamhaus"])
async def test_a_refusal_switches_a_list_off_at_once(server: DnsServer, answer: str) -> None:
    """SURBL and others give it to all who ask through a public resolver: it would list the world."""
    server.says(f"example.com.{ZONE}", "A", has(answer))
    told = Told()
    asked = lists(server, told)
    assert await asked.look_up("example.com", ZONE) is Result.OFF
    assert await asked.look_up("example.net", ZONE) is Result.OFF
    assert told.off == [(ZONE, f"it answers {answer}, which means that it refuses to serve us")]
    assert not server.questions(f"example.net.{ZONE}")


# -- lists that are not in their senses -------------------------------------------------------------


@pytest.mark.parametrize("entry", ["test", "2.0.0.127", "surbl-org-permanent-test-point.com", "dbltest.com"])
async def test_a_list_with_one_of_the_test_entries_is_good(server: DnsServer, entry: str) -> None:
    server.says(f"{entry}.{ZONE}", "A", has("127.0.0.254"))
    told = Told()
    assert await lists(server, told).test()
    assert told.off == []


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"test": has("127.0.0.2"), "invalid": has("127.0.0.2")}, 'it lists "invalid", so it lists everybody'),
        ({"invalid": has("192.0.2.80"), "test": SERVFAIL}, 'it lists "invalid", so it lists everybody'),
        ({}, "it lists none of the usual test entries, so it lists nobody"),
        ({"test": has("192.0.2.80")}, "it lists none of the usual test entries, so it lists nobody"),
        ({"2.0.0.127": has("127.0.0.1")}, "it answers 127.0.0.1, which means that it refuses to serve us"),
    ],
    ids=["wildcard", "parked", "dead", "elsewhere", "refused"],
)
async def test_a_mad_list_is_switched_off(server: DnsServer, entries: dict[str, Reply], reason: str) -> None:
    for entry, reply in entries.items():
        server.says(f"{entry}.{ZONE}", "A", reply)
    server.says(f"example.com.{ZONE}", "A", has("127.0.0.8"))
    told = Told()
    asked = lists(server, told)
    assert await asked.test()
    assert told.off == [(ZONE, reason)]
    assert asked.off == {ZONE: reason}
    assert await asked.look_up("example.com", ZONE) is Result.OFF


async def test_each_list_has_its_own_verdict(server: DnsServer) -> None:
    healthy(server)
    told = Told()
    asked = lists(server, told, ZONE, "dead.example", ZONE)
    assert asked.zones == (ZONE, "dead.example")
    assert await asked.test()
    assert list(asked.off) == ["dead.example"]


@pytest.mark.parametrize("entry", ["test", "invalid"])
async def test_half_an_answer_is_no_verdict(server: DnsServer, entry: str) -> None:
    """A list that is good stays on while its servers are away."""
    if entry == "invalid":
        healthy(server)
    server.says(f"{entry}.{ZONE}", "A", SERVFAIL)
    told = Told()
    assert not await lists(server, told).test()
    assert told.off == []


async def test_a_list_comes_back_by_itself(server: DnsServer, clock: MockClock, nursery: trio.Nursery) -> None:
    """Each hour it is tested, and who waits for the watch to start finds it tested."""
    told = Told()
    asked = lists(server, told)
    server.minimum = 60
    await nursery.start(asked.watch)
    assert [zone for zone, _ in told.off] == [ZONE]
    healthy(server)
    await wait_all_tasks_blocked()
    clock.jump(3600)
    with trio.fail_after(5):
        while not told.on:
            await wait_all_tasks_blocked(0.01)
    assert asked.off == {}
    assert len(told.off) == 1


async def test_a_test_without_a_verdict_is_made_again_soon(
    server: DnsServer, clock: MockClock, nursery: trio.Nursery
) -> None:
    """The DNS may be away while we start: a mad list must not be trusted for an hour."""
    server.everything = SERVFAIL
    told = Told()
    await nursery.start(lists(server, told).watch)
    server.everything = has("127.0.0.2")
    await wait_all_tasks_blocked()
    clock.jump(60)
    with trio.fail_after(5):
        while not told.off:
            await wait_all_tasks_blocked(0.01)
