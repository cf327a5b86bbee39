"""The client's name: only one that leads back to the client counts, whatever a stranger's zone says."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio

from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tlsgate.admission.reverse_dns import Confirmed, ReverseName, TemporaryFailure, Unconfirmed, look_up
from tlsgate.dns import Failure, Missing

_CLIENT = "192.0.2.7"
_POINTER = "7.2.0.192.in-addr.arpa"
_POINTER6 = "7" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


async def found(server: DnsServer, client: str = _CLIENT, timeout: float = 5.0) -> ReverseName:
    return await look_up(ip_address(client), server.resolver(timeout))


@pytest.mark.parametrize("client", ["192.0.2.7", "::ffff:192.0.2.7"])
async def test_a_name_that_leads_back_is_the_client_s(server: DnsServer, client: str) -> None:
    server.says(_POINTER, "PTR", has("Mail.Example.ORG."))
    server.says("mail.example.org", "A", has("192.0.2.6", "192.0.2.7"))
    assert await found(server, client) == Confirmed("mail.example.org")


@pytest.mark.parametrize("client", ["2001:db8::7", "2001:db8::7%eth0"])
async def test_ipv6_addresses_are_compared_as_values(server: DnsServer, client: str) -> None:
    server.says(_POINTER6, "PTR", has("mail.example.org."))
    server.says("mail.example.org", "AAAA", has("2001:0db8:0::0:7"))
    assert await found(server, client) == Confirmed("mail.example.org")


async def test_a_name_that_leads_elsewhere_is_not_the_client_s(server: DnsServer) -> None:
    """Anybody can write the name of a bank into the zone of an address."""
    server.says(_POINTER, "PTR", has("mail.bank.example."))
    server.says("mail.bank.example", "A", has("192.0.2.8"))
    assert await found(server) == Unconfirmed("mail.bank.example")


@pytest.mark.parametrize("name", ["localhost.", "gone.example."])
async def test_a_name_without_addresses_is_not_the_client_s(server: DnsServer, name: str) -> None:
    server.says(_POINTER, "PTR", has(name))
    assert await found(server) == Unconfirmed(name.removesuffix("."))


async def test_an_address_without_a_name(server: DnsServer) -> None:
    assert await found(server) == Missing()


async def test_one_good_name_of_several_will_do(server: DnsServer) -> None:
    server.says(_POINTER, "PTR", has("other.test.", "mail.test.", "dead.test."))
    server.says("other.test", "A", has("192.0.2.8"))
    server.says("mail.test", "A", has("192.0.2.7"))
    server.says("dead.test", "A", SERVFAIL)
    assert await found(server) == Confirmed("mail.test")


async def test_a_hundred_names_cost_five_questions(server: DnsServer) -> None:
    names = tuple(f"host{n}.test." for n in range(100))
    server.says(_POINTER, "PTR", Reply(records=names, truncated=True))
    assert isinstance(await found(server), Unconfirmed)
    assert len([each for each in server.asked if each[1] == "A"]) == 5


@pytest.mark.parametrize(
    "name",
    [
        "evil\\013\\010x.test.",
        "\\195\\164.test.",
        "a\\.b.test.",
        "a\\032b.test.",
        "<script>.test.",
        "-dash.test.",
        "192.0.2.7.",
        "[unavailable].test.",
        ".",
    ],
    ids=["crlf", "utf8", "dot", "space", "markup", "dash", "number", "brackets", "root"],
)
async def test_a_name_that_no_host_can_have_is_never_used(server: DnsServer, name: str) -> None:
    """It would end up in logs, headers and XCLIENT commands."""
    server.says(_POINTER, "PTR", has(name))
    assert await found(server) == Missing()
    assert [each[1] for each in server.asked] == ["PTR"]


@pytest.mark.parametrize(
    ("reply", "reason"), [(SILENT, Failure.TIMEOUT), (SERVFAIL, Failure.SERVFAIL)], ids=["silent", "servfail"]
)
@pytest.mark.parametrize("name", [_POINTER, "mail.example.org"], ids=["ptr", "address"])
async def test_the_dns_being_away_says_nothing_against_a_client(
    server: DnsServer, reply: Reply, reason: Failure, name: str
) -> None:
    server.says(_POINTER, "PTR", has("mail.example.org."))
    server.says("mail.example.org", "A", reply)
    if name == _POINTER:
        server.says(_POINTER, "PTR", reply)
    assert await found(server, timeout=0.3) == TemporaryFailure(reason)
