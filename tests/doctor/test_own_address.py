"""What others find in the DNS about this host: its addresses, their names, SPF, lists."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio

from tests.dns_server import SERVFAIL, DnsServer, Reply, has
from tlsgate.config import Dnsbl
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.doctor.own_address import addresses, listed, may_send, named

HOST, DOMAIN = "mail.example.org", "example.org"
OURS, OURS6 = ip_address("198.51.100.7"), ip_address("2001:db8::7")
POINTER = "7.100.51.198.in-addr.arpa"


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


def said(found: list[Finding]) -> list[tuple[Severity, str]]:
    return [(each.severity, each.what) for each in found]


# -- addresses ------------------------------------------------------------------------------------------


async def test_public_addresses(server: DnsServer) -> None:
    server.says(HOST, "A", has("10.0.0.7", str(OURS)))
    server.says(HOST, "AAAA", has(str(OURS6)))
    assert await addresses(HOST, server.resolver()) == ([OURS, OURS6], [])


@pytest.mark.parametrize(("host", "address"), [("[198.51.100.7]", OURS), ("[IPv6:2001:db8::7]", OURS6)])
async def test_an_address_literal(server: DnsServer, host: str, address: object) -> None:
    """The DNS has nothing on it."""
    assert await addresses(host, server.resolver()) == ([address], [])
    assert server.asked == []


@pytest.mark.parametrize(
    ("reply", "severity", "what"),
    [
        (Reply(), Severity.PROBLEM, "has no address in the DNS"),
        (SERVFAIL, Severity.WARNING, "its address couldn't be asked for: servfail"),
        (has("10.0.0.7"), Severity.NOTE, "is at 10.0.0.7, which isn't a public address"),
    ],
)
async def test_no_public_address(server: DnsServer, reply: Reply, severity: Severity, what: str) -> None:
    server.says(HOST, "A", reply)
    every, found = await addresses(HOST, server.resolver())
    assert (every, said(found)) == ([], [(severity, what)])


# -- reverse DNS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        (has("Mail.example.org."), []),
        (has("host7.example.net."), [(Severity.NOTE, "is host7.example.net in reverse DNS")]),
        (
            has("elsewhere.example.net."),
            [(Severity.WARNING, "is elsewhere.example.net in reverse DNS, which doesn't lead back to it")],
        ),
        (Reply(), [(Severity.WARNING, "has no name in reverse DNS")]),
        (SERVFAIL, [(Severity.WARNING, "its name couldn't be asked for: servfail")]),
    ],
)
async def test_names(server: DnsServer, pointer: Reply, expected: list[tuple[Severity, str]]) -> None:
    """Large receivers refuse mail of addresses without a name that leads back."""
    server.says(POINTER, "PTR", pointer)
    for name in (HOST, "host7.example.net"):
        server.says(name, "A", has(str(OURS)))
    assert said(await named(HOST, [OURS], server.resolver())) == expected


# -- SPF ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (has('"v=spf1 ip4:198.51.100.0/24 -all"'), []),
        (has('"v=spf1 -all"'), [(Severity.WARNING, f"its SPF record doesn't let {OURS} send: fail")]),
        (has('"v=spf1 ~all"'), [(Severity.WARNING, f"its SPF record doesn't let {OURS} send: softfail")]),
        (has('"v=spf1 ?all"'), [(Severity.WARNING, f"its SPF record doesn't let {OURS} send: neutral")]),
        (has('"another"'), [(Severity.WARNING, "has no SPF record")]),
    ],
)
async def test_spf(server: DnsServer, reply: Reply, expected: list[tuple[Severity, str]]) -> None:
    server.says(DOMAIN, "TXT", reply)
    assert said(await may_send(DOMAIN, HOST, [OURS], server.resolver())) == expected


async def test_each_address_is_asked_for(server: DnsServer) -> None:
    """Hosts that got IPv6 later send by it, and are refused."""
    server.says(DOMAIN, "TXT", has('"v=spf1 ip4:198.51.100.7 -all"'))
    (finding,) = await may_send(DOMAIN, HOST, [OURS, OURS6], server.resolver())
    assert f"doesn't let {OURS6} send" in finding.what
    assert "ip6:2001:db8::7" in finding.do


async def test_a_faulty_record_is_told_once_whatever_our_address_is(server: DnsServer) -> None:
    server.says(DOMAIN, "TXT", has('"v=spf1 ip5:1.2.3.4 -all"'))
    for ours in ([], [OURS, OURS6]):
        (finding,) = await may_send(DOMAIN, HOST, ours, server.resolver())
        assert finding.severity is Severity.PROBLEM
        assert finding.what.startswith("its SPF record is faulty: ")
    server.says(DOMAIN, "TXT", has('"v=spf1 -all"'))
    assert await may_send(DOMAIN, HOST, [], server.resolver()) == []


async def test_spf_that_cannot_be_asked_for(server: DnsServer) -> None:
    server.says(DOMAIN, "TXT", SERVFAIL)
    (finding,) = await may_send(DOMAIN, HOST, [OURS], server.resolver())
    assert finding.what.startswith("its SPF record couldn't be asked for: ")


# -- lists ----------------------------------------------------------------------------------------------


def serves(server: DnsServer, zone: str) -> None:
    """A list in its senses."""
    server.says(f"2.0.0.127.{zone}", "A", has("127.0.0.2"))


async def test_lists_that_have_us(server: DnsServer) -> None:
    """A listing of ours costs our users' mail; one that pardons, and one for another purpose, do no harm."""
    key = "abcdefghijklmnopqrstuvw123"
    lists = [
        Dnsbl(zone="bad.test"),
        Dnsbl(zone=f"{key}.paid.test"),
        Dnsbl(zone="good.test", weight=-3),
        Dnsbl(zone="clean.test"),
    ]
    for each in lists:
        serves(server, each.zone)
    for zone in ("bad.test", f"{key}.paid.test", "good.test"):
        server.says(f"7.100.51.198.{zone}", "A", has("127.0.0.4"))
    found = await listed([OURS], lists, server.resolver())
    assert said(found) == [
        (Severity.PROBLEM, "is on bad.test (127.0.0.4)"),
        (Severity.PROBLEM, "is on paid.test (127.0.0.4)"),
    ]
    assert key not in str(found)


async def test_lists_that_say_nothing(server: DnsServer) -> None:
    """A list that is dead or refuses us doesn't call us clean."""
    serves(server, "slow.test")
    server.says("7.100.51.198.slow.test", "A", SERVFAIL)
    server.says("2.0.0.127.shut.test", "A", has("127.255.255.254"))
    found = await listed([OURS], [Dnsbl(zone="slow.test"), Dnsbl(zone="shut.test")], server.resolver())
    assert [(each.about, each.severity) for each in found] == [
        (f"address {OURS}", Severity.NOTE),
        ("list shut.test", Severity.WARNING),
    ]
