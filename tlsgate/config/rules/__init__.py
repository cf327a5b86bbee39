"""What must hold between keys of which each is good alone; a file for each part of a config.

A rule reads a Config as if it were whole: a key with a fault of its own raises Unread there, which ends that rule only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from tlsgate.config.build import Unread
from tlsgate.config.fault import Finding, Findings, KeyPath, dotted, shown
from tlsgate.config.reach import reached
from tlsgate.config.rules.auth import auth_rules
from tlsgate.config.rules.listeners import listener_rules
from tlsgate.config.rules.pools import pool_rules
from tlsgate.config.schema import Config, Pool, Sni
from tlsgate.config.values import HostPort, is_loopback


def broken_rules(config: Config) -> Findings:
    """What doesn't hold. ``config``, and any section of it, may be Damaged."""
    for rule in _rules(config):
        with suppress(Unread):
            yield from rule


def _rules(config: Config) -> Iterator[Findings]:
    uses = reached(config)
    pools: Mapping[str, Pool] = getattr(config, "pools", {})
    yield from listener_rules(config)
    for name, pool in pools.items():
        yield from pool_rules(config, pool, ("pools", name), uses.get(name, frozenset()))
    yield _server_names(getattr(getattr(config, "tls", None), "sni", ()))
    yield from auth_rules(config, uses)
    yield _token(config)


def _server_names(sni: tuple[Sni, ...]) -> Findings:
    first: dict[str, KeyPath] = {}
    for index, each in enumerate(sni):
        with suppress(Unread):
            for place, name in enumerate(each.hostnames):
                key = ("tls", "sni", index, "hostnames", place)
                if (taken := first.setdefault(name.lower(), key)) != key:
                    yield Finding(key, f"{shown(name)} is {dotted(taken)} too", "give each name one certificate")


def _token(config: Config) -> Findings:
    address = config.admin.address
    if isinstance(address, HostPort) and not is_loopback(address.host) and config.admin.token_file is None:
        problem = f"is missing, and {address} can be reached from other hosts"
        yield Finding(("admin", "token_file"), problem, "name a file with a token, or use a loopback or unix address")
