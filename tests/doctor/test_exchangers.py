"""Where a domain's mail is sent to, and whether anybody is there."""

from __future__ import annotations

import pytest
import trio

from tests.dns_server import SERVFAIL, DnsServer, Reply, has
from tlsgate.doctor.exchangers import exchangers
from tlsgate.doctor.finding import Severity

HOST, OTHER = "mx1.example.org", "mx2.example.net"


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    server = await DnsServer().serve(nursery)
    server.says(HOST, "A", has("198.51.100.7"))
    server.says(OTHER, "AAAA", has("2001:db8::7"))
    return server


async def found(server: DnsServer, *, serves_mx: bool = True) -> list[tuple[Severity, str]]:
    every = await exchangers("example.org", HOST, serves_mx, server.resolver())
    assert {each.about for each in every} <= {"domain example.org"}
    return [(each.severity, each.what) for each in every]


async def test_two_that_can_be_reached(server: DnsServer) -> None:
    server.says("example.org", "MX", has(f"10 {HOST}.", f"20 {OTHER.upper()}."))
    assert await found(server) == []


@pytest.mark.parametrize("records", [(f"10 {HOST}.",), (f"10 {HOST}.", f"20 {HOST}.")])
async def test_one_only(server: DnsServer, records: tuple[str, ...]) -> None:
    """Two records of one host are one host."""
    server.says("example.org", "MX", has(*records))
    assert await found(server) == [(Severity.WARNING, f"has one MX only: {HOST}")]


async def test_one_without_an_address(server: DnsServer) -> None:
    server.says("example.org", "MX", has(f"10 {HOST}.", "20 gone.example.net.", "30 lame.example.net."))
    server.says("lame.example.net", "A", SERVFAIL)
    assert await found(server) == [
        (Severity.PROBLEM, "its MX gone.example.net has no address"),
        (Severity.WARNING, "the address of its MX lame.example.net couldn't be asked for: servfail"),
    ]


async def test_we_and_the_others(server: DnsServer) -> None:
    """An mx listener that no sender comes to; and senders that come to none."""
    server.says("example.org", "MX", has("10 mx3.example.net.", f"20 {OTHER}."))
    server.says("mx3.example.net", "A", has("198.51.100.8"))
    assert await found(server) == [(Severity.WARNING, f"{HOST} isn't among its MX: mx3.example.net, {OTHER}")]
    assert await found(server, serves_mx=False) == []
    server.says("example.org", "MX", has(f"10 {HOST}.", f"20 {OTHER}."))
    ((severity, what),) = await found(server, serves_mx=False)
    assert (severity, "has no mx listener" in what) == (Severity.WARNING, True)


@pytest.mark.parametrize(
    ("reply", "severity", "what"),
    [
        (Reply(), Severity.WARNING, "has no MX record"),
        (SERVFAIL, Severity.WARNING, "its MX couldn't be asked for: servfail"),
        (has("0 ."), Severity.NOTE, "says that it takes no mail (RFC 7505)"),
    ],
)
async def test_none(server: DnsServer, reply: Reply, severity: Severity, what: str) -> None:
    """A failure isn't an answer, and who wants no mail has it said rightly."""
    server.says("example.org", "MX", reply)
    assert await found(server) == [(severity, what)]
