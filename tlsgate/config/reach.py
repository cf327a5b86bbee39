"""Which pools a listener's sessions can end up in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from tlsgate.config.build import Unread
from tlsgate.config.enums import AuthSource, Protocol
from tlsgate.config.schema import Config, Listener, Pool, Route


def pools_behind(listener: Listener, routes: Iterable[Route], mapped: Iterable[str] = ()) -> tuple[str, ...]:
    """The listener's own pool, then those of routes for its protocol and the ``mapped`` ones, each once.

    An mx listener knows no users.
    """
    if listener.protocol is Protocol.MX:
        return (listener.pool,)
    routed = (each.pool for each in routes if each.protocol in (None, listener.protocol))
    return tuple(dict.fromkeys((listener.pool, *routed, *mapped)))


def mapped_pools(settings: Config, protocol: Protocol) -> tuple[str, ...]:
    """The pools that ``auth.user_map``, or a claim of a token, may name for users of ``protocol``, in their order.

    What they say changes while it is served, so these are all that speak the protocol; none without both.
    """
    if not _names_pools(settings) or protocol is Protocol.MX:
        return ()
    return tuple(name for name, protocols in reached(settings).items() if protocol in protocols)


def _names_pools(settings: Config) -> bool:
    """Whether something beside listeners and routes leads users to pools."""
    auth = settings.auth
    return auth.user_map is not None or (AuthSource.OAUTH in auth.source and bool(auth.oauth.pool_claim))


def reached(settings: Config) -> Mapping[str, frozenset[Protocol]]:
    """The protocols of those who can end up in each pool. ``settings``, and any section of it, may be Damaged."""
    found: dict[str, frozenset[Protocol]] = {}

    def lead(pool: str, protocols: frozenset[Protocol]) -> None:
        if protocols:
            found[pool] = found.get(pool, frozenset()) | protocols

    with_users: frozenset[Protocol] = frozenset()
    for listener in getattr(settings, "listeners", ()):
        with suppress(Unread):
            lead(listener.pool, frozenset({listener.protocol}))
            with_users |= {listener.protocol} - {Protocol.MX}
    for route in getattr(settings, "routes", ()):
        with suppress(Unread):
            lead(route.pool, with_users if route.protocol is None else frozenset({route.protocol}))
    with suppress(Unread, AttributeError):
        named = _names_pools(settings)
        pools: Mapping[str, Pool] = getattr(settings, "pools", {}) if named else {}
        for name, pool in pools.items():
            with suppress(Unread):
                if pool.protocol is not None:
                    lead(name, frozenset({pool.protocol}))
    return found
