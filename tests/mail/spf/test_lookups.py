"""Names that are asked for, and what a stranger's names can't do."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
import trio

from tests.dns_server import DnsServer, has
from tests.mail.spf.zones import ZoneResolver
from tlsgate.mail.spf.lookups import LookUps, covers, target_name

CLIENT = IPv4Address("192.0.2.1")
POINTER = "1.2.0.192.in-addr.arpa"


@pytest.mark.parametrize(
    ("expanded", "name"),
    [
        ("a.b", "a.b"),
        ("a.b.", "a.b"),
        ("", ""),
        (".", ""),
        ("a..b", ""),
        (".a", ""),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
        ("a" * 64 + ".b", ""),
        ("a" * 300, ""),
        ("\u00e9.test", ""),
        ("x." + "abcdefghi." * 25 + "abc", "abcdefghi." * 25 + "abc"),
        ("abcdefghi." * 25 + "abc", "abcdefghi." * 25 + "abc"),
        ("a" * 64 + "." + "abcdefghi." * 25 + "abc", "abcdefghi." * 25 + "abc"),
    ],
)
def test_target_name(expanded: str, name: str) -> None:
    assert target_name(expanded) == name


@pytest.mark.parametrize(
    ("address", "prefix", "client", "covered"),
    [
        ("192.0.2.1", 32, "192.0.2.1", True),
        ("192.0.2.1", 32, "192.0.2.0", False),
        ("192.0.2.255", 24, "192.0.2.0", True),
        ("192.0.3.0", 24, "192.0.2.0", False),
        ("0.0.0.0", 0, "255.255.255.255", True),
        ("::", 0, "192.0.2.1", False),
        ("0.0.0.0", 0, "::1", False),
        ("2001:db8:8000::", 33, "2001:db8:ffff::1", True),
        ("2001:db8:8000::", 33, "2001:db8:7fff::1", False),
    ],
)
def test_networks(address: str, prefix: int, client: str, covered: bool) -> None:
    assert covers(ip_address(address), prefix, ip_address(client)) is covered


async def test_a_backslash_of_the_sender_escapes_nothing(nursery: trio.Nursery) -> None:
    r"""Else ``a\.b`` would ask for another name than the domain's owner has."""
    server = await DnsServer().serve(nursery)
    server.says(r"a\\.b.test", "A", has("127.0.0.2"))
    look_ups = LookUps(CLIENT, server.resolver())
    assert await look_ups.exists("a\\.b.test")


async def test_of_a_clients_names_only_hosts_are_asked_and_ten_at_most() -> None:
    names = [r"evil\010.test", "a b.test", "x" * 300, *(f"h{n}.test" for n in range(60))]
    zone = {(POINTER, "PTR"): names} | {(f"h{n}.test", "A"): ["192.0.2.1"] for n in range(60)}
    resolver = ZoneResolver(zone)
    look_ups = LookUps(CLIENT, resolver)
    assert await look_ups.validated() == tuple(f"h{n}.test" for n in range(7))
    assert await look_ups.validated()
    assert len(resolver.asked) == 8
