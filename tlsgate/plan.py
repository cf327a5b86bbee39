"""A prepared config as it will be served: pools, services and traces. Making a plan changes nothing that is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlsgate import config
from tlsgate.admission.look_ups import Checks, LookUps
from tlsgate.admission.network import network_of
from tlsgate.admission.prefixes import PrefixSet
from tlsgate.admission.screened import Screener
from tlsgate.auth import backend as asking_backend
from tlsgate.auth.chain import Source, chain
from tlsgate.auth.judgement import Judge
from tlsgate.auth.routing import Routes
from tlsgate.backends.health import Spoken
from tlsgate.backends.pool import Backend, Pool
from tlsgate.config import AuthSource, Protocol, pools_behind
from tlsgate.mail.aliases import Aliases
from tlsgate.mail.aliases_file import AliasesFile
from tlsgate.mail.relay_rules import RelayDomains
from tlsgate.mail.submission import Senders
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.trace import ListenerTrace
from tlsgate.prepared import Prepared, users_file_remarks
from tlsgate.relay import Pump
from tlsgate.service import Service
from tlsgate.sockets import socket_key
from tlsgate.tls.validity import Remark

if TYPE_CHECKING:
    from tlsgate.auth.users_file import Content
    from tlsgate.mail.surbl.links import Links

_DATA_PHASES = {Protocol.IMAP: Phase.RELAY, Protocol.POP3: Phase.RELAY}


@dataclass(frozen=True, slots=True)
class Plan:
    """``listeners``: by their sockets' keys. ``look_ups``: None when nothing is asked of the DNS about clients.

    ``links``: None when nothing is asked about messages' links. ``aliases``: the file that tells senders, None without
    one.
    """

    prepared: Prepared
    pools: Mapping[str, Pool]
    listeners: Mapping[str, tuple[Service, ListenerTrace]]
    remarks: tuple[Remark, ...]
    look_ups: LookUps | None
    aliases: AliasesFile | None
    links: Links | None = None

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
) -> Plan:
    """``kept``: the pools that are there; one whose settings haven't changed stays, with all that is known of it.

    ``aliases``: the file that is followed; it stays if it is still the one, so that sessions that live follow it too.
    """
    if aliases is None or prepared.aliases is None or aliases.path != prepared.aliases.path:
        aliases = prepared.aliases
    pools = {
        name: pool
        if (pool := kept.get(name)) is not None and pool.settings == settings
        else _pool(name, prepared, log, metrics)
        for name, settings in prepared.settings.pools.items()
    }
    judge, senders = _judge(prepared, log), _senders(prepared, aliases)
    domains = RelayDomains(prepared.settings.relay.domains)
    listeners = {
        socket_key(each): (
            _service(prepared, each, pools, pump, judge, look_ups, senders, links, domains),
            _trace(each, log, metrics),
        )
        for each in prepared.listeners
    }
    return Plan(prepared, pools, listeners, tuple(prepared.remarks()), look_ups, aliases, links)


def _pool(name: str, prepared: Prepared, log: EventLog, metrics: Metrics) -> Pool:
    settings = prepared.settings

    def changed(backend: Backend, why: str) -> None:
        if backend.up:
            log.emit("backend_up", pool=name, backend=backend.address)
        else:
            log.emit("backend_down", "warning", pool=name, backend=backend.address, reason=why)

    def not_told(backend: Backend, version: int, why: str) -> None:
        clients = f"IPv{version}" if version else "unix"
        log.emit("client_not_told", "warning", pool=name, backend=backend.address, clients=clients, reason=why)

    pool = Pool(
        name,
        settings.pools[name],
        metrics.backends.backend,
        connections=settings.limits.backend_connections,
        contexts=prepared.backend_contexts[name],
    )
    for backend in pool.backends:
        backend.on_change, backend.on_not_told = changed, not_told
    return pool


def _judge(prepared: Prepared, log: EventLog) -> Judge:
    """The sources of ``auth.source`` in their order; who isn't built yet isn't there, which the start refuses."""
    sources: dict[AuthSource, Source] = {AuthSource.BACKEND: asking_backend.judge}
    path = prepared.settings.auth.users_file
    if path is not None and prepared.users is not None:
        sources[AuthSource.USERS_FILE] = _users_file(path, prepared.users, log)
    return chain([sources[each] for each in prepared.settings.auth.source])


def _users_file(path: Path, content: Content, log: EventLog) -> Source:
    from tlsgate.auth.users_file import UsersFile  # as in prepared: only where there is one

    def reread(found: Content | str) -> None:
        if isinstance(found, str):
            log.emit("users_file_fault", "warning", about=str(path), reason=f"{found}; what was read before counts")
            return
        remarks = list(users_file_remarks(path, found))
        log.emit("users_file", path=str(path), users=len(found.users.hashes), remarks=len(remarks))
        for remark in remarks:
            log.emit(remark.event, "warning", about=remark.about, reason=remark.text)

    return UsersFile(path, content, reread)


def _senders(prepared: Prepared, aliases: AliasesFile | None) -> Senders | None:
    if not prepared.settings.relay.sender_must_match:
        return None
    return Aliases() if aliases is None else aliases


def _service(
    prepared: Prepared,
    listener: config.Listener,
    pools: Mapping[str, Pool],
    pump: Pump,
    judge: Judge,
    look_ups: LookUps | None,
    senders: Senders | None,
    links: Links | None,
    domains: RelayDomains,
) -> Service:
    whole = prepared.settings
    checks = Checks.of(listener, whole)
    own, *routed = pools_behind(listener, whole.routes)
    return Service(
        protocol=listener.protocol,
        tls=listener.tls,
        contexts=prepared.contexts,
        pool=pools[own],
        pump=pump,
        limits=whole.limits,
        hostname=whole.server.hostname,
        mechanisms=tuple(whole.auth.mechanisms),
        judge=judge,
        proxies=PrefixSet((network_of(each), "") for each in listener.proxy_protocol_from),
        screener=Screener(look_ups, checks, whole.screening, whole.server.hostname, listener.protocol)
        if checks and look_ups
        else None,
        senders=senders,
        domains=domains,
        links=links if checks.surbl else None,
        require_tls=listener.require_tls,
        bare_newlines=whole.relay.bare_newlines,
        routes=Routes(whole.routes),
        routed={name: pools[name] for name in routed},
        masters=prepared.masters,
    )


def _trace(listener: config.Listener, log: EventLog, metrics: Metrics) -> ListenerTrace:
    data_phase = _DATA_PHASES.get(listener.protocol, Phase.MAIL)
    return ListenerTrace(listener.name, data_phase, metrics.listener(listener.name), log)
