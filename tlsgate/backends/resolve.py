"""Where a backend's host is: addresses of names are asked for now and then, not at each login.

The system's resolver blocks a thread, for half a minute when DNS is dead. So one question a name is under way, and an
old answer serves while there is no new one.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from time import monotonic

import trio

from tlsgate.config import HostPort

Target = tuple[int, tuple[str, int]]
"""A family and an address of it."""

_FRESH = 30.0
_answers: dict[HostPort, tuple[float, tuple[Target, ...]]] = {}
_asking: dict[HostPort, trio.Lock] = {}


async def resolve(address: HostPort) -> tuple[Target, ...]:
    """The targets of a backend's name, at least one, the resolver's favourite first. Raises OSError."""
    fresh_until, known = _answers.get(address, (0.0, ()))
    if known and monotonic() < fresh_until:
        return known
    async with _asking.setdefault(address, trio.Lock()):
        fresh_until, known = _answers.get(address, (0.0, ()))
        if known and monotonic() < fresh_until:
            return known
        try:
            known = await _ask(address)
        except OSError:
            if not known:
                raise
        _answers[address] = (monotonic() + _FRESH, known)
        return known


@lru_cache(256)
def numeric(address: HostPort) -> Target | None:
    """The target of an address that is no name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address.host)
        except OSError:
            continue
        return family, (address.host, address.port)
    return None


async def _ask(address: HostPort) -> tuple[Target, ...]:
    found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return tuple((family, (str(target[0]), int(target[1]))) for family, _, _, _, target in found)
