"""Where hosts are: addresses of names are asked for as often as their TTL wants it, not at each connection.

The system says which addresses (it knows /etc/hosts, search domains and whatever else its resolver is told to ask), and
the DNS, where it says the same, for how long. The system's resolver blocks a thread, for half a minute when the DNS is
dead. So one question a name is under way, behind those who wait for it; an old answer serves while there is no new one.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from contextlib import suppress
from functools import lru_cache

import trio

from tlsgate.config import Dns, HostPort
from tlsgate.dns import Found, Kind, Resolver, ResolverTrace

Target = tuple[int, tuple[str, int]]
"""A family and an address of it."""

_LEAST, _MOST = 1.0, 300.0  # seconds that an answer is taken for new, whatever its TTL
_UNTOLD = 30.0  # where the DNS says nothing of a name
_AGAIN = 5.0  # after a failure
_PATIENCE = 1.0  # before an old answer serves
_NAMES = 1024
_KINDS: dict[int, Kind] = {socket.AF_INET: Kind.A, socket.AF_INET6: Kind.AAAA}


class _Known:
    """What is known of one host. ``asking``: is set at the end of the question that is under way."""

    def __init__(self) -> None:
        self.targets: tuple[Target, ...] = ()
        self.fresh_until = 0.0
        self.asked_at = 0.0
        self.asking: trio.Event | None = None
        self.fault = OSError("not asked")


class Names:
    """Addresses of hosts. ``resolver``: who knows TTLs, and which servers a name stands for; None for nobody."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self.resolver = resolver
        self._settings: Dns | None = None
        self._known: OrderedDict[HostPort, _Known] = OrderedDict()

    def ask_at(self, settings: Dns, trace: ResolverTrace) -> None:
        """Ask these name servers from now on, if they are others. What is known stays."""
        if settings != self._settings:
            self.resolver, self._settings = Resolver(settings, trace), settings

    async def resolve(self, address: HostPort) -> tuple[Target, ...]:
        """The targets of a host's name, at least one, the system's favourite first. Raises OSError."""
        known = self._known.setdefault(address, _Known())
        self._known.move_to_end(address)
        if known.asking is None:
            if known.targets and trio.current_time() < known.fresh_until:
                return known.targets
            self._ask(address, known)
        if (asking := known.asking) is not None:
            with trio.move_on_at(known.asked_at + _PATIENCE) if known.targets else trio.CancelScope():
                await asking.wait()
        if not known.targets:
            raise OSError(known.fault.errno, known.fault.strerror)
        return known.targets

    def _ask(self, address: HostPort, known: _Known) -> None:
        known.asking, known.asked_at = trio.Event(), trio.current_time()
        while len(self._known) > _NAMES:
            self._known.popitem(last=False)
        # Who asks may give up, and others wait for the same.
        trio.lowlevel.spawn_system_task(self._answer, address, known)

    async def _answer(self, address: HostPort, known: _Known) -> None:
        fresh = _AGAIN
        try:
            known.targets = await _system(address)
            fresh = _UNTOLD
        except OSError as error:
            known.fault = error
        except Exception as error:  # noqa: BLE001 - it would end the whole process
            known.fault = OSError(socket.EAI_FAIL, f"no address: {type(error).__name__}")
        finally:
            known.fresh_until = trio.current_time() + fresh
            if known.asking is not None:
                known.asking.set()
            known.asking = None
        if fresh == _UNTOLD and self.resolver is not None and "." in address.host:
            with suppress(Exception):  # as above
                ttl = await self._ttl(self.resolver, address.host, known.targets)
                known.fresh_until = trio.current_time() + min(max(ttl, _LEAST), _MOST)

    async def _ttl(self, resolver: Resolver, host: str, targets: tuple[Target, ...]) -> float:
        """Seconds; that of what isn't the DNS's unless the addresses are those that it has."""
        left = _MOST
        for family in {family for family, _ in targets}:
            answer = await resolver.ask(host, _KINDS[family])
            ours = {where for each, (where, _) in targets if each == family}
            if not isinstance(answer, Found) or ours.isdisjoint(answer.records):
                return _UNTOLD
            left = min(left, resolver.good_for(host, _KINDS[family]))
        return left


SYSTEM = Names()
"""Knows no TTL: for hosts that are no backends."""


async def resolve(address: HostPort) -> tuple[Target, ...]:
    """``Names.resolve`` of SYSTEM."""
    return await SYSTEM.resolve(address)


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


async def _system(address: HostPort) -> tuple[Target, ...]:
    found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return tuple((family, (str(target[0]), int(target[1]))) for family, _, _, _, target in found if family in _KINDS)
