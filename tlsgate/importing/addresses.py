"""Addresses as stunnel and Perdition write them: ``[HOST:]PORT``, ports by name too, IPv6 with brackets or without."""

from __future__ import annotations

from tlsgate.config.fault import Wrong
from tlsgate.config.values import Address, HostPort, parse_address, parse_host
from tlsgate.importing.ports import number


def address(text: str, host: str, port: int | None = None) -> Address:
    """``host``: where none is written; ``port``: likewise, None when one must be. Raises Wrong."""
    if text.startswith(("/", "unix:")):
        return parse_address(f"unix:{text.removeprefix('unix:')}")
    before, colon, after = text.rpartition(":")
    if port is not None and (not colon or text.endswith("]") or before.count(":") > 1):
        before, after = text, str(port)  # a host alone, maybe of IPv6
    return HostPort(parse_host(_unbracketed(before)) if before else host, number(after))


def _unbracketed(host: str) -> str:
    if host.startswith("[") != host.endswith("]"):
        raise Wrong("has half of its brackets")
    return host.removeprefix("[").removesuffix("]")
