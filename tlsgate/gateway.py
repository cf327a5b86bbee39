"""The composition root: a Config in, a running gateway out. Reload and drain live here."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import trio

from tlsgate import __version__, config
from tlsgate.admission.capacity import Capacity
from tlsgate.backends.health import probe_all, watch
from tlsgate.backends.pool import Backend, Pool
from tlsgate.config import AuthSource, Config, ConfigError, LoginMode, Protocol
from tlsgate.listener import Listener, bind
from tlsgate.ops.health import Health
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import BackendMetrics, Metrics
from tlsgate.ops.trace import ListenerTrace
from tlsgate.relay import Pump
from tlsgate.session import Service
from tlsgate.tls.certificate import CertificateFault
from tlsgate.tls.contexts import ServerContexts
from tlsgate.workers.process import CannotStart

_FIRST_PROBE = 1.0
_DATA_PHASES = {Protocol.IMAP: Phase.RELAY, Protocol.POP3: Phase.RELAY}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A config with what it names loaded, ready to be served: what a reload replaces as a whole."""

    settings: Config
    contexts: ServerContexts

    @property
    def listeners(self) -> dict[str, config.Listener]:
        """The listeners that are served, by what tells their sockets apart."""
        return {_socket_key(each): each for each in self.settings.listeners if each.protocol is not Protocol.MX}


def prepare(settings: Config) -> Prepared:
    """Load what a config names. Raises CertificateFault. Reads files: not for the trio loop."""
    protocols = sorted({each.protocol for each in settings.listeners})
    return Prepared(settings, ServerContexts(settings.tls, protocols))


class Gateway:
    """Serves one config until it is told to stop. ``reread``: gives the config of a reload, prepared."""

    def __init__(self, prepared: Prepared, reread: Callable[[], Prepared], log: EventLog, metrics: Metrics) -> None:
        self.health = Health()
        self._now = prepared
        self._reread = reread
        self._log = log
        self._metrics = metrics
        self._pump = Pump()
        self._capacity = Capacity(prepared.settings.limits.connections)
        self._sockets: dict[str, socket.socket] = {}
        self._admin: socket.socket | None = None
        self._listeners: dict[str, Listener] = {}
        self._pools: dict[str, Pool] = {}
        self._watches = trio.CancelScope()
        self._empty = trio.Event()

    def bind(self) -> dict[str, str]:
        """Bind every address; gives those of the listeners by name. Raises CannotStart. Needs privileges."""
        _refuse_unbuilt(self._now.settings)
        self._sockets = _bound(self._now.listeners)
        self._admin = _bind("admin.address", self._now.settings.admin.address)
        return {each.name: _address(self._sockets[key]) for key, each in self._now.listeners.items()}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve what was bound until SIGTERM or SIGINT, then drain. Reports when it accepts."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                nursery.start_soon(self._pump.run)
                self._pools = self._made_pools(self._now.settings)
                await self._probe_pools()
                self._serve(self._now)
                nursery.start_soon(self._serve_admin)
                # What start-up made lives for ever: the collector needn't look at it again.
                gc.collect()
                gc.freeze()
                self._log.emit("started", version=__version__, listeners=self._addresses())
                task_status.started()
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    await self._reload()
                await self._drain(signals)
            nursery.cancel_scope.cancel()
        self._log.emit("stopped")

    # -- what is served -----------------------------------------------------------------------------

    def _serve(self, prepared: Prepared) -> None:
        """Make what is served follow ``prepared``, whose sockets are bound. Sessions that live go on as they began."""
        self._now = prepared
        self._capacity.limit = prepared.settings.limits.connections
        self._metrics.certificates(prepared.contexts.certificates)
        for key in self._listeners.keys() - prepared.listeners.keys():
            self._listeners.pop(key).stop()
        for key, settings in prepared.listeners.items():
            service, trace = self._service(settings), self._trace(settings)
            if (listener := self._listeners.get(key)) is not None:
                listener.service, listener.trace = service, trace
                continue
            listener = Listener(self._sockets.pop(key), service, self._capacity, trace, self._session_ended)
            self._listeners[key] = listener
            self._nursery.start_soon(listener.run, self._nursery)
        self._watches.cancel()
        self._watches = trio.CancelScope()
        self._nursery.start_soon(self._watch_pools, self._watches)
        self.health.ready = True

    def _service(self, settings: config.Listener) -> Service:
        whole = self._now.settings
        return Service(
            protocol=settings.protocol,
            tls=settings.tls,
            contexts=self._now.contexts,
            pool=self._pools[settings.pool],
            pump=self._pump,
            limits=whole.limits,
            hostname=whole.server.hostname,
            mechanisms=tuple(whole.auth.mechanisms),
        )

    def _trace(self, settings: config.Listener) -> ListenerTrace:
        metrics = self._metrics.listener(settings.name)
        return ListenerTrace(settings.name, _DATA_PHASES.get(settings.protocol, Phase.MAIL), metrics, self._log)

    async def _serve_admin(self) -> None:
        from tlsgate.ops.admin import serve_admin  # dear to import: clients are served first

        bound, self._admin = self._admin, None
        if bound is not None:
            await serve_admin(bound, self._metrics.registry, self.health, self._log)

    def _addresses(self) -> str:
        named = {each.name: self._listeners[key].socket for key, each in self._now.listeners.items()}
        return ", ".join(f"{name} {_address(bound)}" for name, bound in named.items())

    # -- pools --------------------------------------------------------------------------------------

    def _made_pools(self, settings: Config) -> dict[str, Pool]:
        """The config's pools; one whose settings haven't changed is kept with all that is known of it."""
        pools: dict[str, Pool] = {}
        most = settings.limits.backend_connections
        for name, each in settings.pools.items():
            kept = self._pools.get(name)
            if kept is None or kept.settings != each:
                kept = Pool(name, each, partial(BackendMetrics, self._metrics), connections=most)
                for backend in kept.backends:
                    backend.on_change = self._backend_changed
            pools[name] = kept
        return pools

    def _spoken_to(self) -> list[tuple[Pool, Service]]:
        """The pools that listeners use, each with one of their services, which knows the protocol."""
        services = {each.pool: self._service(each) for each in self._now.listeners.values()}
        return [(self._pools[name], service) for name, service in services.items()]

    async def _probe_pools(self) -> None:
        """Give the backends a moment to say what they can do, before clients ask."""
        with trio.move_on_after(_FIRST_PROBE):
            async with trio.open_nursery() as probes:
                for pool, service in self._spoken_to():
                    probes.start_soon(probe_all, pool, service.backend_dialogue)

    async def _watch_pools(self, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as watches:
                for pool, service in self._spoken_to():
                    watches.start_soon(watch, pool, service.backend_dialogue)

    def _backend_changed(self, backend: Backend, why: str) -> None:
        if backend.up:
            self._log.emit("backend_up", pool=backend.pool, backend=backend.address)
        else:
            self._log.emit("backend_down", "warning", pool=backend.pool, backend=backend.address, reason=why)

    # -- reload and drain ---------------------------------------------------------------------------

    async def _reload(self) -> None:
        """Take over a new config, or keep the old one and say why."""
        try:
            prepared = await trio.to_thread.run_sync(self._reread)
            _refuse_unbuilt(prepared.settings)
            new = {key: each for key, each in prepared.listeners.items() if key not in self._listeners}
            self._sockets = _bound(new)
        except (ConfigError, CertificateFault, CannotStart) as fault:
            self._metrics.config_reload.labels("rejected").inc()
            self._log.emit("config_rejected", "error", reason=str(fault))
            return
        before = self._now.settings
        self._pools = self._made_pools(prepared.settings)
        self._serve(prepared)
        self._metrics.config_reload.labels("ok").inc()
        self._log.emit("config_reloaded", listeners=self._addresses(), needs_restart=_fixed(before, prepared.settings))

    async def _drain(self, signals: AsyncIterator[int]) -> None:
        """Accept no more; live sessions go on for ``server.drain``, or until a second signal."""
        self.health.ready = False
        for listener in self._listeners.values():
            listener.stop()
        self._log.emit("draining", sessions=self._capacity.used)
        with trio.move_on_after(self._now.settings.server.drain) as scope:
            if self._capacity.used:
                self._nursery.start_soon(_cancel_at_signal, signals, scope)
                await self._empty.wait()

    def _session_ended(self) -> None:
        self._capacity.leave()
        if not self._capacity.used and not self.health.ready:
            self._empty.set()


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            scope.cancel()


def _fixed(before: Config, after: Config) -> str:
    """What has changed in the config and takes effect at the next start only."""
    changed = {
        "admin": before.admin != after.admin,
        "log": before.log != after.log,
        "server.user": before.server.user != after.server.user,
    }
    return ", ".join(key for key, differs in changed.items() if differs)


def _refuse_unbuilt(settings: Config) -> None:
    """Other keys that aren't active yet may wait; who gets in must be as the config says. Raises CannotStart."""
    if settings.auth.source != (AuthSource.BACKEND,):
        raise CannotStart(f"auth.source: {', '.join(settings.auth.source)} is not active yet; only backend is")
    for name in {each.pool for each in settings.listeners if each.protocol is not Protocol.MX}:
        if (login := settings.pools[name].login) is not LoginMode.SAME:
            raise CannotStart(f"pools.{name}.login: {login} is not active yet; only same is")


def _socket_key(listener: config.Listener) -> str:
    """Listeners with one key share a socket over a reload; with port 0 each has one of its own."""
    address = listener.address
    return f"{address} {listener.name}" if isinstance(address, config.HostPort) and not address.port else str(address)


def _bound(listeners: dict[str, config.Listener]) -> dict[str, socket.socket]:
    """All of them, or none. Raises CannotStart."""
    bound: dict[str, socket.socket] = {}
    try:
        for key, each in listeners.items():
            bound[key] = _bind(f"listeners.{each.name}.address", each.address)
    except CannotStart:
        for taken in bound.values():
            taken.close()
        raise
    return bound


def _bind(key: str, address: config.Address) -> socket.socket:
    try:
        return bind(address)
    except OSError as error:
        raise CannotStart(f"{key}: can't listen on {address}: {error.strerror or error}") from None


def _address(listening: socket.socket) -> str:
    """Where a socket listens, as a config writes it, with the port that the kernel chose."""
    name = listening.getsockname()
    return f"unix:{name}" if isinstance(name, str) else str(config.HostPort(name[0], name[1]))
