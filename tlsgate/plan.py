"""A prepared config as it will be served: pools, services and traces. Making a plan changes nothing that is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from tlsgate import config
from tlsgate.admission.look_ups import Checks, LookUps
from tlsgate.admission.network import network_of
from tlsgate.admission.prefixes import PrefixSet
from tlsgate.admission.screened import Screener
from tlsgate.authority import Authority, make_authority
from tlsgate.backends.backend import Backend
from tlsgate.backends.entry import Entry
from tlsgate.backends.health import Spoken
from tlsgate.backends.pool import Pool
from tlsgate.backends.resolve import Names
from tlsgate.config import Protocol, mapped_pools, pools_behind
from tlsgate.mail.aliases import Aliases
from tlsgate.mail.aliases_file import AliasesFile
from tlsgate.mail.relay_rules import RelayDomains
from tlsgate.mail.submission import Senders
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.trace import ListenerTrace
from tlsgate.prepared import Prepared
from tlsgate.relay import Pump
from tlsgate.service import Service
from tlsgate.sockets import socket_key
from tlsgate.tls.validity import Remark

if TYPE_CHECKING:
    from tlsgate.auth.app_passwords_used import LastUses
    from tlsgate.http.client import Client
    from tlsgate.mail.surbl.links import Links

_DATA_PHASES = {Protocol.IMAP: Phase.RELAY, Protocol.POP3: Phase.RELAY}


class Plan(Struct, frozen=True):
    """``listeners``: by their sockets' keys. ``look_ups``: None when nothing is asked of the DNS about clients.

    ``links``: None when nothing is asked about messages' links. ``aliases``: the file that tells senders, None without
    one. ``http``: who asks the servers of sources.
    """

    prepared: Prepared
    pools: Mapping[str, Pool]
    listeners: Mapping[str, tuple[Service, ListenerTrace]]
    remarks: tuple[Remark, ...]
    look_ups: LookUps | None
    aliases: AliasesFile | None
    links: Links | None = None
    last_uses: LastUses | None = None
    http: Client | None = None

    @property
    def backends(self) -> frozenset[tuple[str, str]]:
        """Every backend, by its pool and address."""
        return frozenset((each.pool, each.address) for pool in self.pools.values() for each in pool.backends)

    @property
    def spoken_to(self) -> Spoken:
        """The pools that listeners use, or routes of their users, each with one of their protocols."""
        spoken = {
            pool.name: (pool, service.backend_dialogue)
            for service, _ in self.listeners.values()
            for pool in service.pools
        }
        return list(spoken.values())

    async def lists_tested(self) -> None:
        """Wait for the first test of the DNS lists, if there are any."""
        if self.look_ups is not None:
            await self.look_ups.tested()
        if self.links is not None:
            await self.links.tested()


def make_plan(
    prepared: Prepared,
    kept: Mapping[str, Pool],
    pump: Pump,
    log: EventLog,
    metrics: Metrics,
    look_ups: LookUps | None = None,
    aliases: AliasesFile | None = None,
    links: Links | None = None,
    names: Names | None = None,
) -> Plan:
    """``kept``: the pools that are there; one whose settings haven't changed stays, with all that is known of it.

    ``aliases``: the file that is followed; it stays if it is still the one, so that sessions that live follow it too.
    """
    if aliases is None or prepared.aliases is None or aliases.path != prepared.aliases.path:
        aliases = prepared.aliases
    pools = {
        name: pool
        if (pool := kept.get(name)) is not None and pool.settings == settings
        else _pool(name, prepared, log, metrics, names)
        for name, settings in prepared.settings.pools.items()
    }
    authority, senders = make_authority(prepared, log), _senders(prepared, aliases)
    domains = RelayDomains(prepared.settings.relay.domains)
    weak: set[str] = set()
    listeners = {
        socket_key(each): (
            _service(prepared, each, pools, pump, authority, look_ups, senders, links, domains),
            _trace(each, log, metrics, weak),
        )
        for each in prepared.listeners
    }
    remarks = tuple(prepared.remarks())
    return Plan(prepared, pools, listeners, remarks, look_ups, aliases, links, authority.last_uses, authority.http)


def _pool(name: str, prepared: Prepared, log: EventLog, metrics: Metrics, names: Names | None) -> Pool:
    settings = prepared.settings

    def changed(backend: Backend, why: str) -> None:
        if backend.up:
            log.emit("backend_up", pool=name, backend=backend.address)
        else:
            log.emit("backend_down", "warning", pool=name, backend=backend.address, reason=why)

    def not_told(backend: Backend, version: int, why: str) -> None:
        clients = f"IPv{version}" if version else "unix"
        log.emit("client_not_told", "warning", pool=name, backend=backend.address, clients=clients, reason=why)

    def servers(entry: Entry) -> None:
        level = "warning" if entry.unknown else "info"
        found = ", ".join(each.address for each in entry.backends)
        about = str(entry.settings.address)
        log.emit("backend_servers", level, pool=name, backend=about, servers=found, reason=entry.unknown)

    pool = Pool(
        name,
        settings.pools[name],
        metrics.backends.backend,
        connections=settings.limits.backend_connections,
        contexts=prepared.backend_contexts[name],
        names=names,
        hostname=settings.server.hostname,
    )
    pool.tell(changed, not_told, servers)
    return pool


def _senders(prepared: Prepared, aliases: AliasesFile | None) -> Senders | None:
    if not prepared.settings.relay.sender_must_match:
        return None
    return Aliases() if aliases is None else aliases


def _service(
    prepared: Prepared,
    listener: config.Listener,
    pools: Mapping[str, Pool],
    pump: Pump,
    authority: Authority,
    look_ups: LookUps | None,
    senders: Senders | None,
    links: Links | None,
    domains: RelayDomains,
) -> Service:
    whole = prepared.settings
    checks = Checks.of(listener, whole)
    own, *routed = pools_behind(listener, whole.routes, mapped_pools(whole, listener.protocol))
    return Service(
        protocol=listener.protocol,
        tls=listener.tls,
        contexts=prepared.contexts,
        pool=pools[own],
        pump=pump,
        limits=whole.limits,
        hostname=whole.server.hostname,
        mechanisms=authority.mechanisms,
        judge=authority.judge,
        scram=authority.scram,
        advice=authority.advice,
        asks_certificates=authority.asks_certificates,
        proxies=PrefixSet((network_of(each), "") for each in listener.proxy_protocol_from),
        screener=Screener(look_ups, checks, whole.screening, whole.server.hostname, listener.protocol)
        if checks and look_ups
        else None,
        senders=senders,
        domains=domains,
        links=links if checks.surbl else None,
        require_tls=listener.require_tls,
        bare_newlines=whole.relay.bare_newlines,
        routing=authority.routing,
        routed={name: pools[name] for name in routed},
        masters=prepared.masters,
        stored=authority.stored,
        default_domain=whole.auth.default_domain,
    )


def _trace(listener: config.Listener, log: EventLog, metrics: Metrics, weak: set[str]) -> ListenerTrace:
    data_phase = _DATA_PHASES.get(listener.protocol, Phase.MAIL)
    counted, starttls = metrics.listener(listener.name), listener.tls is config.TlsMode.STARTTLS
    return ListenerTrace(listener.name, data_phase, counted, log, metrics.clients, starttls, weak)
