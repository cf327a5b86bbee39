"""DNS lists, asked of a real DNS server: who is listed, what an answer that is none means, and lists gone mad."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, ip_address

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tlsgate.admission.dnsbl import DnsLists, Listing, Result
from tlsgate.config import AnswerRange, Dnsbl, Protocol

_CLIENT = ip_address("198.51.100.7")
_LISTED = "7.100.51.198"
_CLIENT6 = ip_address("2001:db8::25")
_LISTED6 = "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
_GOOD, _BAD = "2.0.0.127", "1.0.0.127"
_GOOD6 = "2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20
_BAD6 = "1.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20


class Told:
    """What the lists have told."""

    def __init__(self) -> None:
        self.results: Counter[tuple[str, str]] = Counter()
        self.off: list[tuple[str, str]] = []
        self.on: list[str] = []

    def dnsbl(self, zone: str, result: Result) -> None:
        self.results[zone, result.value] += 1

    def dnsbl_zone_off(self, zone: str, reason: str) -> None:
        self.off.append((zone, reason))

    def dnsbl_zone_on(self, zone: str) -> None:
        self.on.append(zone)


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


def answers(*ranges: str) -> tuple[AnswerRange, ...]:
    """ "127.0.0.2-127.0.0.3" as the config reads it."""
    ends = [each.split("-") for each in ranges]
    return tuple(AnswerRange(IPv4Address(each[0]), IPv4Address(each[-1])) for each in ends)


def lists(server: DnsServer, told: Told, *configured: Dnsbl, timeout: float = 5.0) -> DnsLists:
    return DnsLists(configured or (Dnsbl(zone="bl.test"),), server.resolver(timeout), told)


def healthy(server: DnsServer, zone: str = "bl.test") -> None:
    """A list with the entry that it must have."""
    server.says(f"{_GOOD}.{zone}", "A", has("127.0.0.2", ttl=60))


# -- who is listed ----------------------------------------------------------------------------------


async def test_scores_add_up_over_the_lists_that_are_asked(server: DnsServer) -> None:
    """Weights, an allow list, several answers, and a list for users only."""
    server.says(f"{_LISTED}.bl.test", "A", has("127.0.0.4"))
    server.says(f"{_LISTED}.more.test", "A", has("127.0.0.99", "127.0.1.5"))
    server.says(f"{_LISTED}.wl.test", "A", has("127.0.5.2"))
    server.says(f"{_LISTED}.users.test", "A", has("127.0.0.2"))
    told = Told()
    found = await lists(
        server,
        told,
        Dnsbl(zone="bl.test", weight=3),
        Dnsbl(zone="more.test", answers=answers("127.0.0.2", "127.0.1.0-127.0.1.9"), weight=4),
        Dnsbl(zone="wl.test", answers=answers("127.0.5.0-127.0.5.255"), weight=-2),
        Dnsbl(zone="no.test", weight=100),
        Dnsbl(zone="users.test", weight=100, protocols=(Protocol.SUBMISSION,)),
    ).look_up(_CLIENT, Protocol.MX)
    listed = {"bl.test": "127.0.0.4", "more.test": "127.0.1.5", "wl.test": "127.0.5.2"}
    assert found == Listing(5, tuple((zone, IPv4Address(each)) for zone, each in listed.items()), (), 5)
    assert told.results == Counter({(zone, "listed"): 1 for zone in listed} | {("no.test", "not_listed"): 1})
    assert not server.questions(f"{_LISTED}.users.test")


@pytest.mark.parametrize(
    ("answer", "counts"),
    [("127.0.0.1", 0), ("127.0.0.2", 1), ("127.0.0.3", 1), ("127.0.0.4", 0), ("127.0.0.9", 1), ("127.1.0.2", 0)],
)
async def test_only_answers_of_the_config_count(server: DnsServer, answer: str, counts: int) -> None:
    server.says(f"{_LISTED}.bl.test", "A", has(answer))
    zone = Dnsbl(zone="bl.test", answers=answers("127.0.0.2-127.0.0.3", "127.0.0.9"), weight=1)
    assert (await lists(server, Told(), zone).look_up(_CLIENT, Protocol.MX)).score == counts


async def test_one_zone_may_weigh_its_answers_differently(server: DnsServer) -> None:
    server.says(f"{_LISTED}.bl.test", "A", has("127.0.0.2", "127.0.0.4"))
    each = [Dnsbl(zone="bl.test", answers=answers(f"127.0.0.{n}"), weight=n) for n in (2, 3, 4)]
    found = await lists(server, Told(), *each).look_up(_CLIENT, Protocol.MX)
    assert found.score == 6
    assert server.questions(f"{_LISTED}.bl.test") == 1


@pytest.mark.parametrize("client", ["::ffff:198.51.100.7", "198.51.100.7"])
async def test_a_mapped_address_is_asked_for_as_ipv4(server: DnsServer, client: str) -> None:
    server.says(f"{_LISTED}.bl.test", "A", has("127.0.0.2"))
    assert (await lists(server, Told()).look_up(ip_address(client), Protocol.MX)).score == 3


@pytest.mark.parametrize("client", ["2001:db8::25", "2001:db8::25%eth0"])
async def test_ipv6_addresses_are_asked_for_by_nibbles(server: DnsServer, client: str) -> None:
    server.says(f"{_LISTED6}.bl.test", "A", has("127.0.0.2"))
    assert (await lists(server, Told()).look_up(ip_address(client), Protocol.MX)).score == 3


@pytest.mark.parametrize(
    "client",
    (
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.2", "169.254.1.1", "172.31.0.1", "192.168.1.1"),
        *("::", "::1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1"),
    ),
)
async def test_private_addresses_are_not_asked_for(server: DnsServer, client: str) -> None:
    assert await lists(server, Told()).look_up(ip_address(client), Protocol.MX) == Listing()
    assert server.asked == []


# -- answers that are none --------------------------------------------------------------------------


@pytest.mark.parametrize(("reply", "result"), [(SILENT, "timeout"), (SERVFAIL, "failed")])
async def test_a_list_that_fails_says_nothing(server: DnsServer, reply: Reply, result: str) -> None:
    """Nobody is turned away by it, and who decides knows that it was not heard."""
    server.says(f"{_LISTED}.bl.test", "A", has("127.0.0.2"))
    server.says(f"{_LISTED}.dead.test", "A", reply)
    server.says(f"{_LISTED}.wl.test", "A", reply)
    told = Told()
    zones = (Dnsbl(zone="bl.test"), Dnsbl(zone="dead.test", weight=9), Dnsbl(zone="wl.test", weight=-2))
    found = await lists(server, told, *zones, timeout=0.3).look_up(_CLIENT, Protocol.MX)
    assert found == Listing(3, (("bl.test", IPv4Address("127.0.0.2")),), ("dead.test", "wl.test"), 1)
    assert told.results["dead.test", result] == told.results["wl.test", result] == 1
    assert told.off == []


async def test_answers_outside_of_127_say_nothing(server: DnsServer) -> None:
    """A list's domain that was sold, or a provider that answers for names that don't exist."""
    server.says(f"{_LISTED}.bl.test", "A", has("192.0.2.80"))
    told = Told()
    assert await lists(server, told).look_up(_CLIENT, Protocol.MX) == Listing()
    assert told.results == Counter({("bl.test", "outside"): 1})


async def test_a_flood_of_answers_does_not_hurt(server: DnsServer) -> None:
    flood = tuple(f"127.0.{n // 250}.{n % 250}" for n in range(4000))
    server.says(f"{_LISTED}.bl.test", "A", Reply(records=flood, truncated=True))
    zone = Dnsbl(zone="bl.test", answers=answers("127.0.0.0-127.0.15.255"))
    assert (await lists(server, Told(), zone, timeout=30).look_up(_CLIENT, Protocol.MX)).score == 3


async def test_an_error_answer_switches_a_list_off_at_once(server: DnsServer) -> None:
    """Spamhaus gives it to everybody who asks through a public resolver: it would list the world."""
    everything = (AnswerRange(IPv4Address("127.0.0.2"), IPv4Address("127.255.255.255")),)
    server.says(f"{_LISTED}.bl.test", "A", has("127.255.255.254"))
    told = Told()
    asked = lists(server, told, Dnsbl(zone="bl.test", answers=everything))
    for _ in range(2):
        assert await asked.look_up(_CLIENT, Protocol.MX) == Listing()
    assert told.off == [("bl.test", "it answers 127.255.255.254, which means that it refuses to serve us")]
    assert told.results == Counter({("bl.test", "off"): 2})
    await asked.look_up(ip_address("198.51.100.8"), Protocol.MX)
    assert not server.questions("8.100.51.198.bl.test")


# -- lists that are not in their senses -------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({_GOOD: has("127.0.0.2"), _BAD: has("127.0.0.2")}, "it lists 127.0.0.1, so it lists everybody"),
        ({_GOOD: has("192.0.2.80"), _BAD: has("192.0.2.80")}, "it lists 127.0.0.1, so it lists everybody"),
        ({_GOOD: has("127.0.0.2"), _BAD6: has("127.0.0.2")}, "it lists ::ffff:7f00:1, so it lists everybody"),
        (
            {_GOOD: has("127.0.0.2"), _BAD: has("127.0.0.2"), _GOOD6: SERVFAIL},
            "it lists 127.0.0.1, so it lists everybody",
        ),
        ({}, "it doesn't list its test entry 127.0.0.2, so it lists nobody"),
        ({_GOOD: has("192.0.2.80")}, "it doesn't list its test entry 127.0.0.2, so it lists nobody"),
        ({_GOOD: has("127.255.255.252")}, "it answers 127.255.255.252, which means that it refuses to serve us"),
    ],
    ids=["wildcard", "parked", "wildcard6", "wildcard-and-failure", "dead", "elsewhere", "refused"],
)
async def test_a_mad_list_is_switched_off(server: DnsServer, entries: dict[str, Reply], reason: str) -> None:
    for entry, reply in entries.items():
        server.says(f"{entry}.bl.test", "A", reply)
    server.says(f"{_LISTED}.bl.test", "A", has("127.0.0.2"))
    told = Told()
    asked = lists(server, told)
    assert await asked.test()
    assert told.off == [("bl.test", reason)]
    assert asked.off == {"bl.test": reason}
    assert await asked.look_up(_CLIENT, Protocol.MX) == Listing()


@pytest.mark.parametrize("entry", [_GOOD, _GOOD6], ids=["ipv4", "ipv6"])
async def test_a_list_of_one_family_is_good(server: DnsServer, entry: str) -> None:
    server.says(f"{entry}.bl.test", "A", has("127.0.0.200"))
    told = Told()
    assert await lists(server, told).test()
    assert told.off == []


@pytest.mark.parametrize("reply", [SILENT, SERVFAIL], ids=["silent", "servfail"])
async def test_a_test_without_an_answer_is_no_verdict(server: DnsServer, clock: MockClock, reply: Reply) -> None:
    """A list that is good stays on while its servers are away, and one that is off doesn't come back by it."""
    healthy(server)
    told = Told()
    asked = lists(server, told, timeout=0.3)
    assert await asked.test()
    server.everything = reply
    clock.jump(3600)
    assert not await asked.test()
    assert told.off == []
    server.everything = None
    server.names.clear()
    clock.jump(3600)
    assert await asked.test()
    server.everything = reply
    clock.jump(3600)
    assert not await asked.test()
    assert asked.off
    assert told.on == []


async def test_half_an_answer_is_no_verdict(server: DnsServer) -> None:
    """Whether it lists everybody is what isn't known."""
    healthy(server)
    server.says(f"{_BAD}.bl.test", "A", SERVFAIL)
    assert not await lists(server, Told()).test()


async def test_a_list_comes_back_by_itself(server: DnsServer, clock: MockClock, nursery: trio.Nursery) -> None:
    """Each hour it is tested, and who waits for the watch to start finds it tested."""
    told = Told()
    asked = lists(server, told)
    server.minimum = 60
    await nursery.start(asked.watch)
    assert [zone for zone, _ in told.off] == ["bl.test"]
    healthy(server)
    await wait_all_tasks_blocked()
    clock.jump(3600)
    with trio.fail_after(5):
        while not told.on:
            await wait_all_tasks_blocked(0.01)
    assert told.on == ["bl.test"]
    assert asked.off == {}
    assert len(told.off) == 1


async def test_a_test_without_a_verdict_is_made_again_soon(
    server: DnsServer, clock: MockClock, nursery: trio.Nursery
) -> None:
    """The DNS may be away while we start: a mad list must not be trusted for an hour."""
    server.everything = SERVFAIL
    told = Told()
    asked = lists(server, told)
    await nursery.start(asked.watch)
    server.everything = has("127.0.0.2")
    await wait_all_tasks_blocked()
    clock.jump(60)
    with trio.fail_after(5):
        while not told.off:
            await wait_all_tasks_blocked(0.01)
    assert asked.off
