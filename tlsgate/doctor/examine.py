"""Every examination of a deployment, side by side within bounds."""

from __future__ import annotations

from datetime import UTC, datetime

import trio

from tlsgate.backends.resolve import Names
from tlsgate.config import Config, Protocol
from tlsgate.dns import Resolver
from tlsgate.doctor import own_address
from tlsgate.doctor.certificates import certificates, known_roots
from tlsgate.doctor.exchangers import exchangers
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.doctor.reach import addresses_of, reach
from tlsgate.doctor.relay_forms import forms
from tlsgate.doctor.relay_judgement import relaying
from tlsgate.doctor.subject import Subject, subjects
from tlsgate.prepared import Prepared

_BACKENDS_AT_ONCE = 8
_DNS_TIMEOUT = 120.0  # seconds, for all its questions


class _Unheard:
    """A resolver's trace that nobody reads."""

    def dns_down(self) -> None: ...
    def dns_up(self) -> None: ...


async def examine(prepared: Prepared, domain: str | None) -> list[Finding]:
    """What is found, in the order of the config. ``domain``: one whose mail comes here, None for our name alone."""
    settings = prepared.settings
    names = Names(Resolver(settings.dns, _Unheard()))
    every = [each async for each in subjects(settings, prepared.backend_contexts, names)]
    of_backends: dict[int, list[Finding]] = {}
    of_dns: list[Finding] = []
    room = trio.CapacityLimiter(_BACKENDS_AT_ONCE)

    async def backend(number: int, subject: Subject) -> None:
        async with room:
            of_backends[number] = await _backend(subject, _ours(settings, domain))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_dns, settings, domain, of_dns)
        for number, each in enumerate(every):
            if isinstance(each, Subject):
                nursery.start_soon(backend, number, each)
            else:
                of_backends[number] = [each]
        roots = await trio.to_thread.run_sync(known_roots)
        served = list(certificates(prepared.contexts.certificates, settings, roots, datetime.now(UTC)))
    return [*(each for number in sorted(of_backends) for each in of_backends[number]), *served, *of_dns]


def _ours(settings: Config, domain: str | None) -> str:
    """A domain that backends may take for theirs."""
    if settings.relay.domains:
        return settings.relay.domains[0].removeprefix(".")
    return domain or (settings.server.hostname if not settings.server.hostname.startswith("[") else "localhost")


async def _backend(subject: Subject, ours: str) -> list[Finding]:
    addresses = await addresses_of(subject)
    answers, found = await reach(subject, addresses)
    if answers and subject.smtp:
        address = addresses[0] if addresses else "127.0.0.1"
        literal = f"[IPv6:{address}]" if ":" in str(address) else f"[{address}]"
        found += await relaying(subject, forms(ours, literal))
    return found


async def _dns(settings: Config, domain: str | None, found: list[Finding]) -> None:
    """All that is asked of the DNS goes to ``found``, as far as it is known in time."""
    with trio.move_on_after(_DNS_TIMEOUT) as scope:
        await _ask(settings, domain, Resolver(settings.dns, _Unheard()), found)
    if scope.cancelled_caught:
        what = f"wasn't asked to the end within {_DNS_TIMEOUT:.0f} seconds"
        found.append(Finding("the DNS", Severity.WARNING, what, "receivers won't wait either", "see dns.nameservers"))


async def _ask(settings: Config, domain: str | None, resolver: Resolver, found: list[Finding]) -> None:
    hostname = settings.server.hostname
    serves_mx = any(each.protocol is Protocol.MX for each in settings.listeners)
    if domain is not None:
        found += await exchangers(domain, hostname, serves_mx, resolver)
    addresses, at_fault = await own_address.addresses(hostname, resolver)
    if domain is not None:
        found += await own_address.may_send(domain, hostname, addresses, resolver)
    found += at_fault
    found += await own_address.named(hostname, addresses, resolver)
    found += await own_address.listed(addresses, settings.dnsbl, resolver)
