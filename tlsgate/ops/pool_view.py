"""Pools as the admin API shows them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tlsgate.backends.pool import Pool
from tlsgate.ops.session_view import short

_MOST_CAPABILITIES = 50


class BackendView(msgspec.Struct, frozen=True):
    """``up``: whether it was last seen working, by every worker. ``capabilities``: as it said, None before.

    ``failed_at``: when it last failed, in seconds of the epoch, None for never; ``failure``: why.
    """

    address: str
    tls: str
    priority: int
    weight: float
    up: bool
    connections: int
    capabilities: list[str] | None
    failed_at: float | None
    failure: str | None


class PoolView(msgspec.Struct, frozen=True):
    """``unheard``: workers that didn't answer; what they know is missing."""

    name: str
    login: str
    backends: list[BackendView]
    unheard: int = 0


def pool_view(pool: Pool) -> PoolView:
    """What this process knows of a pool."""
    backends = []
    for each in pool.backends:
        settings, known = each.settings, each.capabilities
        capabilities = None if known is None else [short(word) or "" for word in known[:_MOST_CAPABILITIES]]
        at, why = each.last_failure or (None, None)
        backends.append(
            BackendView(
                each.address, settings.tls, settings.priority, settings.weight, each.up, each.connections,
                capabilities, at, short(why),
            )
        )  # fmt: skip
    return PoolView(pool.name, pool.settings.login, backends)


def merged(views: Sequence[PoolView], unheard: int) -> PoolView:
    """What several processes know of one pool. ``views`` has one at least."""
    backends: dict[str, BackendView] = {}
    for view in views:
        for each in view.backends:
            known = backends.get(each.address)
            backends[each.address] = each if known is None else _both(known, each)
    return PoolView(views[0].name, views[0].login, list(backends.values()), unheard)


def _both(one: BackendView, other: BackendView) -> BackendView:
    last = max(one, other, key=lambda each: each.failed_at or 0.0)
    return msgspec.structs.replace(
        last,
        up=one.up and other.up,
        connections=one.connections + other.connections,
        capabilities=other.capabilities if one.capabilities is None else one.capabilities,
    )
