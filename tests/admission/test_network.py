"""Clients' addresses and networks, against the standard library's slower ones."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.admission.network import (
    UNIX,
    ClientAddress,
    Network,
    NetworkLengths,
    network_of,
    parse_client,
    parse_network,
)

ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


def _network(text: str) -> Network:
    return parse_network(text)[0]


@given(ADDRESSES)
def test_an_address_is_its_number(address: IPv4Address | IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    right = mapped or address
    parsed = parse_client(str(address))
    assert parsed == ClientAddress(right.version, int(right))
    assert ip_address(str(parsed)) == right


@pytest.mark.parametrize("text", ["::ffff:192.0.2.7", "::FFFF:c000:207", "0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"])
def test_a_mapped_address_is_the_ipv4_address(text: str) -> None:
    """Else a client gets round a block, and has a second count, by which socket it came to."""
    assert parse_client(text) == ClientAddress(4, 0xC0000207)
    assert str(parse_client(text)) == "192.0.2.7"


async def test_what_the_kernel_gives_a_dual_stack_listener_is_the_ipv4_address() -> None:
    with socket.socket(socket.AF_INET6) as listening, socket.socket() as client:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(("::", 0))
        listening.listen()
        client.connect(("127.0.0.1", listening.getsockname()[1]))
        accepted, peer = listening.accept()
        accepted.close()
    assert str(parse_client(peer[0])) == "127.0.0.1"


def test_a_zone_makes_no_other_client() -> None:
    assert parse_client("fe80::1%eth0") == parse_client("fe80::1%wlan.7") == parse_client("fe80::1")


def test_unix_clients_are_one_network() -> None:
    assert parse_client("unix") is UNIX
    assert str(UNIX) == str(NetworkLengths(32, 64).network(UNIX)) == "unix"
    assert UNIX.embedded is None


@pytest.mark.parametrize(
    "text", ["", "unix:", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4\0", ":", "1::2::3", "[::1]", "\ud800"]
)
def test_what_is_no_address_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_client(text)


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("2002:c000:207::1", "192.0.2.7"),
        ("2002:c000:207:ffff:ffff:ffff:ffff:ffff", "192.0.2.7"),
        ("64:ff9b::c000:207", "192.0.2.7"),
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
        ("2003:c000:207::1", None),
        ("64:ff9b:1::c000:207", None),  # RFC 8215: a local prefix, whose form isn't known
        ("64:ff9b::1:c000:207", None),
        ("192.0.2.7", None),
    ],
)
def test_the_address_within(text: str, inner: str | None) -> None:
    assert parse_client(text).embedded == (None if inner is None else parse_client(inner))


@pytest.mark.parametrize(
    ("address", "lengths", "network"),
    [
        ("192.0.2.7", (24, 64), "192.0.2.0/24"),
        ("192.0.2.7", (32, 64), "192.0.2.7/32"),
        ("::ffff:192.0.2.7", (24, 64), "192.0.2.0/24"),
        ("2001:db8:1:0:ffff::1", (24, 64), "2001:db8:1::/64"),
        ("2001:DB8:0:1:0:0:0:9", (24, 128), "2001:db8:0:1::9/128"),
        ("255.255.255.255", (1, 1), "128.0.0.0/1"),
        ("fe80::1%eth0", (32, 10), "fe80::/10"),
    ],
)
def test_the_network_of_a_client(address: str, lengths: tuple[int, int], network: str) -> None:
    assert str(NetworkLengths(*lengths).network(parse_client(address))) == network


@given(ADDRESSES, st.integers(1, 32), st.integers(1, 128))
def test_the_network_holds_the_client_and_reads_back(address: IPv4Address | IPv6Address, ipv4: int, ipv6: int) -> None:
    """Its text is a key in logs, ban lists and a shared store: it must say the same to everyone."""
    client = parse_client(str(address))
    network = NetworkLengths(ipv4, ipv6).network(client)
    assert ip_address(str(client)) in ip_network(str(network))
    assert network.length == (ipv4 if client.version == 4 else ipv6)
    assert parse_network(str(network)) == (network, False)
    assert network_of(ip_network(str(network))) == network


@given(ADDRESSES, st.integers(0, 128))
def test_a_prefix_as_the_standard_library_reads_it(address: IPv4Address | IPv6Address, length: int) -> None:
    length = min(length, address.max_prefixlen)
    right = ip_network(f"{address}/{length}", strict=False)
    network, mended = parse_network(f"{address}/{length}")
    assert mended == (right.network_address != address)
    if isinstance(address, IPv4Address) or address.ipv4_mapped is None:
        assert network == network_of(right)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7/95", "::fffe:0:0/95"),  # wider than what is mapped: nobody's but IPv6's
    ],
)
def test_prefixes(text: str, network: str) -> None:
    assert str(_network(text)) == network


_NO_PREFIXES = """
/ /8 10 10/8 1.2.3.4/ 1.2.3.4/33 ::/129 1.2.3.4/-1 1.2.3.4/0024 1.2.3.4/255.0.0.0 1.2.3.4/8/8 1.2.3.0-1.2.3.9
fe80::1%eth0/64 example.org 1.2.3.4/\u0663
"""


@pytest.mark.parametrize("text", [*_NO_PREFIXES.split(), "", "1.2.3.4/ 8", "1.2.3.4\0"])
def test_what_is_no_prefix_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_network(text)
