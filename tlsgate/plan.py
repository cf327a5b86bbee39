"""A prepared config as it will be served: pools, services and traces. Making a plan changes nothing that is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tlsgate import config
from tlsgate.backends.health import Spoken
from tlsgate.backends.pool import Backend, Pool
from tlsgate.config import Protocol
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.trace import ListenerTrace
from tlsgate.prepared import Prepared
from tlsgate.relay import Pump
from tlsgate.session import Service
from tlsgate.sockets import socket_key
from tlsgate.tls.validity import Remark

_DATA_PHASES = {Protocol.IMAP: Phase.RELAY, Protocol.POP3: Phase.RELAY}


@dataclass(frozen=True, slots=True)
class Plan:
    """``listeners``: by their sockets' keys."""

    prepared: Prepared
    pools: Mapping[str, Pool]
    listeners: Mapping[str, tuple[Service, ListenerTrace]]
    remarks: tuple[Remark, ...]

    @property
    def spoken_to(self) -> Spoken:
        """The pools that listeners use, each with one of their protocols."""
        services = {service.pool.name: service for service, _ in self.listeners.values()}
        return [(service.pool, service.backend_dialogue) for service in services.values()]


def make_plan(prepared: Prepared, kept: Mapping[str, Pool], pump: Pump, log: EventLog, metrics: Metrics) -> Plan:
    """``kept``: the pools that are there; one whose settings haven't changed stays, with all that is known of it."""
    pools = {
        name: pool
        if (pool := kept.get(name)) is not None and pool.settings == settings
        else _pool(name, prepared, log, metrics)
        for name, settings in prepared.settings.pools.items()
    }
    listeners = {
        socket_key(each): (_service(prepared, each, pools[each.pool], pump), _trace(each, log, metrics))
        for each in prepared.listeners
    }
    return Plan(prepared, pools, listeners, tuple(prepared.remarks()))


def _pool(name: str, prepared: Prepared, log: EventLog, metrics: Metrics) -> Pool:
    settings = prepared.settings

    def changed(backend: Backend, why: str) -> None:
        if backend.up:
            log.emit("backend_up", pool=name, backend=backend.address)
        else:
            log.emit("backend_down", "warning", pool=name, backend=backend.address, reason=why)

    pool = Pool(
        name,
        settings.pools[name],
        metrics.backends.backend,
        connections=settings.limits.backend_connections,
        contexts=prepared.backend_contexts[name],
    )
    for backend in pool.backends:
        backend.on_change = changed
    return pool


def _service(prepared: Prepared, listener: config.Listener, pool: Pool, pump: Pump) -> Service:
    whole = prepared.settings
    return Service(
        protocol=listener.protocol,
        tls=listener.tls,
        contexts=prepared.contexts,
        pool=pool,
        pump=pump,
        limits=whole.limits,
        hostname=whole.server.hostname,
        mechanisms=tuple(whole.auth.mechanisms),
    )


def _trace(listener: config.Listener, log: EventLog, metrics: Metrics) -> ListenerTrace:
    data_phase = _DATA_PHASES.get(listener.protocol, Phase.MAIL)
    return ListenerTrace(listener.name, data_phase, metrics.listener(listener.name), log)
