"""Addresses as DNS lists and reverse zones write them (RFC 1035 3.5, RFC 3596 2.5, RFC 5782 2.1 and 2.4)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

ClientIP = IPv4Address | IPv6Address


def plain(client: ClientIP) -> ClientIP:
    """The address without a zone id; an IPv4 address where one is mapped into IPv6."""
    if isinstance(client, IPv4Address):
        return client
    return client.ipv4_mapped or IPv6Address(int(client))


def reversed_name(client: ClientIP, zone: str) -> str:
    """The octets of an IPv4 address, or the nibbles of an IPv6 address, the last first, in a zone."""
    units = str(client).split(".") if isinstance(client, IPv4Address) else f"{int(client):032x}"
    return ".".join([*reversed(units), zone])
