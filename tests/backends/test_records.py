"""Which servers an SRV or MX name stands for: a wrong order uses a spare, a wrong name sends mail round in circles."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tlsgate.backends.records import MOST_SERVERS, look_up
from tlsgate.config import ManyServers, MxName, SrvName
from tlsgate.dns import Failure

IMAP = SrvName("_imap._tcp.example.org")
MAIL = MxName("example.org", 2525)


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


async def servers(server: DnsServer, name: ManyServers, hostname: str = "") -> Sequence[tuple[str, int, float]]:
    found, _ = await look_up(name, server.resolver(), hostname)
    assert not isinstance(found, Failure)
    return [(str(each.address), each.priority, each.weight) for each in found]


async def test_services_by_priority_and_weight(server: DnsServer) -> None:
    """RFC 2782: weight 0 is a very small chance, not none."""
    server.says(
        IMAP.name, "SRV", has("20 1 143 Spare.example.org.", "10 0 993 b.example.org.", "10 9 143 a.example.org.")
    )
    assert await servers(server, IMAP) == [
        ("a.example.org:143", 10, 9),
        ("b.example.org:993", 10, 0.01),
        ("spare.example.org:143", 20, 1),
    ]


@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        (IMAP, "SRV", ("0 0 0 .",)),
        (IMAP, "SRV", ("0 0 143 .",)),
        (IMAP, "SRV", ("10 1 0 a.example.org.",)),
        (
            IMAP,
            "SRV",
            ("10 1 143 a\\032b.example.org.", "10 1 143 a\\/b.example.org.", "10 1 143 a\\013\\010.example.org."),
        ),
        (MAIL, "MX", ("0 .",)),
    ],
    ids=["none", "none but a port", "no port", "no hosts", "null mx"],
)
async def test_what_is_no_server(server: DnsServer, name: ManyServers, kind: str, records: tuple[str, ...]) -> None:
    """RFC 2782 and RFC 7505: "." is no service at all."""
    server.says(IMAP.name if kind == "SRV" else MAIL.domain, kind, has(*records))
    assert await servers(server, name) == []


async def test_exchangers_by_preference(server: DnsServer) -> None:
    server.says("example.org", "MX", has("20 b.example.org.", "10 a.example.org."))
    assert await servers(server, MAIL) == [("a.example.org:2525", 10, 1), ("b.example.org:2525", 20, 1)]


async def test_a_domain_without_exchangers_is_its_own(server: DnsServer) -> None:
    """RFC 5321 5.1: the implicit MX. A service has none."""
    assert await servers(server, MAIL) == [("example.org:2525", 0, 1)]
    assert await servers(server, IMAP) == []


@pytest.mark.parametrize(
    ("records", "left"),
    [
        (("10 inner.example.org.", "20 Gate.example.org.", "20 peer.example.org.", "30 spare.example.org."), 1),
        (("10 gate.example.org.",), 0),
    ],
)
async def test_mail_is_not_passed_on_to_ourselves(server: DnsServer, records: tuple[str, ...], left: int) -> None:
    """RFC 5321 5.1: nor to those of our own preference or worse, who pass it on to us: it would go in circles."""
    server.says("example.org", "MX", has(*records))
    assert len(await servers(server, MAIL, "gate.EXAMPLE.org")) == left


async def test_no_more_than_some_servers_the_best_of_them(server: DnsServer) -> None:
    """Each is probed and kept: whoever answers the DNS must not choose how many."""
    server.says(IMAP.name, "SRV", has(*(f"{100 - n} 1 143 s{n}.example.org." for n in range(60))))
    found = await servers(server, IMAP)
    assert len(found) == MOST_SERVERS == 32
    assert found[0] == ("s59.example.org:143", 41, 1)


async def test_a_server_named_twice_counts_once_at_its_best(server: DnsServer) -> None:
    """Its connections would be counted apart, and its limit doubled."""
    server.says(IMAP.name, "SRV", has("20 9 143 a.example.org.", "10 1 143 a.example.org."))
    assert await servers(server, IMAP) == [("a.example.org:143", 10, 1)]


@pytest.mark.parametrize(
    ("reply", "why"), [(SERVFAIL, Failure.SERVFAIL), (SILENT, Failure.TIMEOUT)], ids=["servfail", "silent"]
)
async def test_a_failure_is_not_an_empty_set(server: DnsServer, reply: Reply, why: Failure) -> None:
    server.says(IMAP.name, "SRV", reply)
    assert (await look_up(IMAP, server.resolver(0.2)))[0] == why


async def test_how_long_an_answer_is_good(server: DnsServer) -> None:
    server.says(IMAP.name, "SRV", has("10 1 143 a.example.org.", ttl=90))
    _, left = await look_up(IMAP, server.resolver())
    assert 85 < left <= 90
