"""The name in HELO: what it says by itself, and what the DNS says of it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio

from tests.dns_server import SERVFAIL, DnsServer, has
from tlsgate.admission.helo import Helo, judge

_OURS = frozenset({"mail.example.net", "[192.0.2.25]"})


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


async def judged(server: DnsServer, name: str, client: str = "192.0.2.7") -> Helo:
    return await judge(name, ip_address(client), _OURS, server.resolver())


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("mail.example.net", Helo.OUR_NAME),
        ("MAIL.example.NET.", Helo.OUR_NAME),
        ("[192.0.2.25]", Helo.OUR_NAME),
        ("[192.0.2.7]", Helo.CLIENT),
        ("[IPv6:::ffff:192.0.2.7]", Helo.CLIENT),
        ("[192.0.2.8]", Helo.WRONG_LITERAL),
        ("[IPv6:2001:db8::1]", Helo.WRONG_LITERAL),
        ("[mail.example.org]", Helo.NOT_A_HOST_NAME),
        ("[]", Helo.NOT_A_HOST_NAME),
        ("192.0.2.7", Helo.NOT_A_HOST_NAME),
        ("a b.example", Helo.NOT_A_HOST_NAME),
        ("-.example", Helo.NOT_A_HOST_NAME),
        ("bücher.example", Helo.NOT_A_HOST_NAME),
        ("", Helo.NOT_A_HOST_NAME),
        ("localhost", Helo.BARE_WORD),
    ],
)
async def test_a_name_that_speaks_for_itself(server: DnsServer, name: str, verdict: Helo) -> None:
    assert await judged(server, name) is verdict
    assert server.asked == []


async def test_a_mapped_client_is_an_ipv4_client(server: DnsServer) -> None:
    assert await judged(server, "[192.0.2.7]", "::ffff:192.0.2.7") is Helo.CLIENT


@pytest.mark.parametrize("literal", ["[IPv6:2001:db8::7]", "[2001:DB8:0::7]", "[ipv6:2001:db8::7%eth0]"])
async def test_the_literal_of_an_ipv6_client(server: DnsServer, literal: str) -> None:
    assert await judged(server, literal, "2001:db8::7") is Helo.CLIENT


@pytest.mark.parametrize(
    ("kind", "record", "verdict"),
    [
        ("A", "192.0.2.7", Helo.CLIENT),
        ("A", "192.0.2.8", Helo.ELSEWHERE),
        ("AAAA", "2001:db8::7", Helo.ELSEWHERE),
        ("MX", "10 mx.example.org.", Helo.ELSEWHERE),
        ("TXT", "none", Helo.UNKNOWN_HOST),
    ],
)
async def test_a_name_in_the_dns(server: DnsServer, kind: str, record: str, verdict: Helo) -> None:
    """RFC 5321 4.1.4: that the name leads elsewhere is nothing against the client."""
    server.says("mail.example.org", kind, has(record))
    assert await judged(server, "mail.example.org") is verdict


@pytest.mark.parametrize("kind", ["A", "AAAA", "MX"])
async def test_the_dns_being_away_says_nothing_against_a_client(server: DnsServer, kind: str) -> None:
    server.says("mail.example.org", kind, SERVFAIL)
    assert await judged(server, "mail.example.org") is Helo.TEMPORARY_FAILURE
