"""Backends that can't tell a stranger's mail from ours, by the config alone."""

from __future__ import annotations

from collections.abc import Iterator

from tlsgate.config import ClientAddress, Config, Protocol
from tlsgate.doctor.finding import Finding, Severity

_TOLD = (ClientAddress.XCLIENT, ClientAddress.PROXY_V1, ClientAddress.PROXY_V2)


def unvouched(settings: Config) -> Iterator[Finding]:
    """The mx listeners whose backends take every client for this host."""
    for listener in settings.listeners:
        if listener.protocol is Protocol.MX and settings.pools[listener.pool].client_address not in _TOLD:
            yield Finding(
                f"listener {listener.name}",
                Severity.WARNING,
                f"the backends of pool {listener.pool} see every client as this host",
                "a backend that relays for our address would relay for everybody",
                f'set pools.{listener.pool}.client_address = "xclient", or make sure that they don\'t relay for us',
            )
