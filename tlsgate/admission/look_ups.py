"""The DNS as one config has it asked about clients: which listeners ask what, and what they share for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol as Interface

import trio
from msgspec import Struct

from tlsgate import config
from tlsgate.admission.dnsbl import DnsblTrace, DnsLists
from tlsgate.config import Action, ClientAddress, Config, Protocol, mapped_pools, pools_behind
from tlsgate.dns import Resolver
from tlsgate.dns.resolver import ResolverTrace


class LookUpTrace(DnsblTrace, ResolverTrace, Interface):
    """What is told of look-ups: ``screened`` once for each check of a client, ``result`` one of few words."""

    def screened(self, check: str, result: str) -> None: ...

    def screening_fault(self, check: str, fault: str) -> None: ...


class Checks(Struct, frozen=True):
    """What the clients of a listener, and the mail that they bring, are checked by."""

    dnsbl: bool
    reverse_dns: bool
    helo: bool
    spf: bool = False
    surbl: bool = False
    pregreet: bool = False

    @classmethod
    def of(cls, listener: config.Listener, settings: Config) -> Checks:
        """What the config wants. XCLIENT tells a backend the client's name, so it is asked for whatever is screened."""
        mx = listener.protocol is Protocol.MX
        mail = mx or listener.protocol is Protocol.SUBMISSION
        screening = settings.screening
        reached = pools_behind(listener, settings.routes, mapped_pools(settings, listener.protocol))
        told = any(settings.pools[name].client_address is ClientAddress.XCLIENT for name in reached)
        return cls(
            dnsbl=mail and any(listener.protocol in each.protocols for each in settings.dnsbl),
            reverse_dns=told or (mail and screening.reverse_dns is not Action.OFF),
            helo=mail and screening.helo is not Action.OFF,
            spf=mx and screening.spf is not Action.OFF,
            surbl=mx and screening.surbl is not Action.OFF and bool(screening.surbl_zones),
            pregreet=mx and screening.pregreet_delay > 0,
        )

    def __bool__(self) -> bool:
        return self.dnsbl or self.reverse_dns or self.helo or self.spf or self.surbl or self.pregreet


class LookUps:
    """What all sessions of one ``[dns]`` and ``[[dnsbl]]`` ask. ``nursery``: where they do, which outlives them."""

    def __init__(
        self, dns: config.Dns, zones: tuple[config.Dnsbl, ...], trace: LookUpTrace, nursery: trio.Nursery
    ) -> None:
        self._dns = dns
        self.zones = zones
        self.trace = trace
        self.nursery = nursery
        self.resolver = Resolver(dns, trace)
        self.lists = DnsLists(zones, self.resolver, trace)
        self._tested = trio.Event()
        self._watching = trio.CancelScope()

    @property
    def timeout(self) -> float:
        """``[dns] timeout``, in seconds."""
        return self._dns.timeout

    def serves(self, dns: config.Dns, zones: tuple[config.Dnsbl, ...]) -> bool:
        """Whether these ask the same in the same way."""
        return (dns, zones) == (self._dns, self.zones)

    async def watch(self) -> None:
        """Keep the lists tested until ``stop``."""
        if not self.zones:
            self._tested.set()
            return
        with self._watching:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.lists.watch)
                self._tested.set()

    async def tested(self) -> None:
        """Wait for the first test of the lists, which ``watch`` makes. It takes as long as the DNS does."""
        await self._tested.wait()

    def stop(self) -> None:
        """Test no more. Sessions may go on asking."""
        self._watching.cancel()


def look_ups_for(
    settings: Config,
    listeners: Iterable[config.Listener],
    kept: LookUps | None,
    trace: LookUpTrace,
    nursery: trio.Nursery,
) -> LookUps | None:
    """What ``listeners`` ask with, None when none asks. ``kept``: what is there, and stays while it serves."""
    listeners = list(listeners)
    if not any(Checks.of(each, settings) for each in listeners):
        return None
    served = {each.protocol for each in listeners}
    zones = tuple(each for each in settings.dnsbl if served.intersection(each.protocols))
    if kept is not None and kept.serves(settings.dns, zones):
        return kept
    return LookUps(settings.dns, zones, trace, nursery)
