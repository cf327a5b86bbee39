"""The set of prefixes, against the standard library's answer to the same question."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.admission.network import UNIX, ClientAddress, Network, network_of, parse_client, parse_network
from tlsgate.admission.prefixes import PrefixSet

BITS = {4: 32, 6: 128}


@st.composite
def _networks(draw: st.DrawFn) -> Network:
    """Few of the values, many of the lengths: prefixes that nest and meet are what goes wrong."""
    version = draw(st.sampled_from((4, 6)))
    length = draw(st.integers(0, BITS[version]))
    value = draw(st.sampled_from((0, 1, 0xFFFF, 1 << 24, (1 << 32) - 1))) << BITS[version] - 32
    value |= draw(st.integers(0, 3))
    shift = BITS[version] - length
    return Network(version, value >> shift << shift, length)


def _edges(network: Network) -> list[ClientAddress]:
    """The first and last address of a prefix, and those just outside."""
    version, first, length = network
    last = first + (1 << BITS[version] - length) - 1
    return [ClientAddress(version, value % (1 << BITS[version])) for value in (first - 1, first, last, last + 1)]


def _slowly(listed: dict[Network, str], address: ClientAddress) -> tuple[Network, str] | None:
    inside = [each for each in listed if ip_address(str(address)) in ip_network(str(each))]
    longest = max(inside, key=lambda network: network.length, default=None)
    return None if longest is None else (longest, listed[longest])


@given(st.lists(_networks(), max_size=12), st.lists(_networks(), max_size=3))
def test_the_longest_prefix_and_its_reason(networks: list[Network], others: list[Network]) -> None:
    listed = {network: f"reason {index}" for index, network in enumerate(networks)}
    prefixes = PrefixSet(listed.items())
    assert prefixes.count == len(listed)
    for network in networks + others:
        for address in _edges(network):
            # A mapped address is no address of ours: parse_client gives the IPv4 one.
            if address.version == 4 or address.value >> 32 != 0xFFFF:
                assert prefixes.find(address) == _slowly(listed, address)


def test_the_first_reason_of_a_prefix_holds() -> None:
    network, _ = parse_network("192.0.2.0/24")
    prefixes = PrefixSet([(network, "first"), (network, "second")])
    assert prefixes.find(parse_client("192.0.2.1")) == (network, "first")
    assert prefixes.count == 1


def test_a_prefix_without_a_reason_is_found() -> None:
    """An empty reason is no absence: the client would get through."""
    network, _ = parse_network("2001:db8::/32")
    assert PrefixSet([(network, "")]).find(parse_client("2001:db8::1")) == (network, "")


def test_all_of_ipv6_is_nothing_of_ipv4() -> None:
    prefixes = PrefixSet([(network_of(ip_network("::/0")), "v6")])
    assert prefixes.find(parse_client("2001:db8::1")) is not None
    assert prefixes.find(parse_client("192.0.2.1")) is None
    assert prefixes.find(parse_client("::ffff:192.0.2.1")) is None


@pytest.mark.parametrize("networks", [[], ["0.0.0.0/0", "::/0"]])
def test_a_unix_client_is_in_no_prefix(networks: list[str]) -> None:
    assert PrefixSet((parse_network(each)[0], "") for each in networks).find(UNIX) is None


def test_a_hundred_thousand_prefixes() -> None:
    """Every one is found by an address within, and no stranger is."""
    chance = random.Random(7)
    networks: list[IPv4Network | IPv6Network] = []
    for _ in range(80_000):
        networks.append(IPv4Network((chance.getrandbits(31), chance.randint(9, 32)), strict=False))
    for _ in range(20_000):
        networks.append(IPv6Network((chance.getrandbits(124), chance.randint(16, 128)), strict=False))
    ours = [network_of(each) for each in networks]
    prefixes = PrefixSet((network, "listed") for network in ours)
    assert prefixes.count == len(set(ours))
    for version, value, length in ours:
        inside = ClientAddress(version, value | chance.getrandbits(128) % (1 << BITS[version] - length))
        found = prefixes.find(inside)
        assert found is not None
        assert found.network.length >= length
    for _ in range(20_000):
        assert prefixes.find(ClientAddress(4, 1 << 31 | chance.getrandbits(31))) is None
        assert prefixes.find(ClientAddress(6, 1 << 127 | chance.getrandbits(127))) is None
