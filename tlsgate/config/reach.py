"""Which pools a listener's sessions can end up in."""

from __future__ import annotations

from collections.abc import Iterable

from tlsgate.config.enums import Protocol
from tlsgate.config.schema import Listener, Route


def pools_behind(listener: Listener, routes: Iterable[Route]) -> tuple[str, ...]:
    """The listener's own pool, then those of routes for its protocol, each once. An mx listener knows no users."""
    routed = (each.pool for each in routes if each.protocol in (None, listener.protocol))
    return tuple(dict.fromkeys((listener.pool, *(() if listener.protocol is Protocol.MX else routed))))
