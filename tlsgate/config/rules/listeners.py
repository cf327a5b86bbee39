"""What must hold between listeners, and between them, routes and pools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from tlsgate.config.advice import closest, one_of
from tlsgate.config.build import Unread
from tlsgate.config.enums import Protocol, TlsMode
from tlsgate.config.fault import Finding, Findings, KeyPath, dotted, shown
from tlsgate.config.schema import Config, Listener, Route
from tlsgate.config.values import Address, HostPort


def listener_rules(config: Config) -> Iterator[Findings]:
    """Those of [[listeners]] and [[routes]]."""
    listeners: tuple[Listener, ...] = getattr(config, "listeners", ())
    routes: tuple[Route, ...] = getattr(config, "routes", ())
    yield _names(listeners)
    yield _addresses(config, listeners)
    for index, listener in enumerate(listeners):
        yield _mx_tls(listener, ("listeners", index))
        yield _require_tls(listener, ("listeners", index))
        yield _proxies(listener, ("listeners", index))
        yield _known_pool(config, listener, ("listeners", index))
    for index, route in enumerate(routes):
        yield _known_pool(config, route, ("routes", index))


def _names(listeners: tuple[Listener, ...]) -> Findings:
    first: dict[str, int] = {}
    for index, listener in enumerate(listeners):
        with suppress(Unread):
            if (taken := first.setdefault(listener.name, index)) != index:
                problem = f"{shown(listener.name)} is the name of listeners[{taken}] too"
                yield Finding(("listeners", index, "name"), problem, "give each listener a name of its own")


def _addresses(config: Config, listeners: tuple[Listener, ...]) -> Findings:
    """No two sockets on one address; a wildcard takes its port on every other."""
    taken: dict[object, dict[str, KeyPath]] = {}
    for key, address in _bound(config, listeners):
        place, host = (address.port, address.host) if isinstance(address, HostPort) else (address.path, "")
        if place == 0:  # the kernel chooses
            continue
        others = taken.setdefault(place, {})
        clash = next((key for other, key in others.items() if _overlap(host, other)), None)
        if clash is not None:
            yield Finding(key, f"{address} is taken by {dotted(clash)}", "give each an address of its own")
        others.setdefault(host, key)


def _bound(config: Config, listeners: tuple[Listener, ...]) -> Iterator[tuple[KeyPath, Address]]:
    for index, listener in enumerate(listeners):
        with suppress(Unread):
            yield ("listeners", index, "address"), listener.address
    with suppress(Unread):
        yield ("admin", "address"), config.admin.address


def _overlap(host: str, other: str) -> bool:
    if host == other or "::" in (host, other):  # "[::]" takes IPv4 as well
        return True
    return "0.0.0.0" in (host, other) and ":" not in host + other


def _mx_tls(listener: Listener, at: KeyPath) -> Findings:
    if listener.protocol is Protocol.MX and listener.tls is TlsMode.IMPLICIT:
        problem = "is implicit, but other mail servers begin in clear (RFC 3207)"
        yield Finding((*at, "tls"), problem, 'use "starttls"; require_tls = true refuses mail in clear')


def _require_tls(listener: Listener, at: KeyPath) -> Findings:
    if listener.require_tls and listener.protocol is not Protocol.MX:
        problem = f"is for mx listeners: {listener.protocol} always requires TLS"
        yield Finding((*at, "require_tls"), problem, "remove it")


def _proxies(listener: Listener, at: KeyPath) -> Findings:
    if listener.proxy_protocol_from and not isinstance(listener.address, HostPort):
        problem = f"is set, but who comes to {listener.address} has no address to be in a prefix"
        yield Finding((*at, "proxy_protocol_from"), problem, "remove it, or listen on host:port")


def _known_pool(config: Config, user: Listener | Route, at: KeyPath) -> Findings:
    if user.pool not in config.pools:
        meant = closest(user.pool, config.pools)
        advice = f"did you mean {shown(meant)}?" if meant else f"use {one_of(config.pools)}"
        yield Finding((*at, "pool"), f"there is no [pools.{user.pool}]", advice)
