"""The composition root: a Config in, a running gateway out. Reload and drain live here."""

from __future__ import annotations

import gc
import signal
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import trio

from tlsgate import __version__, config
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.admission.visit import Visit
from tlsgate.backends.health import Spoken, probe_all, watch
from tlsgate.backends.pool import Pool
from tlsgate.config import Config, ConfigError
from tlsgate.listener import Listener, remove_stale
from tlsgate.ops.admission_trace import AdmissionTrace
from tlsgate.ops.health import Health
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.plan import Plan, make_plan
from tlsgate.prepared import Prepared, needs_restart, refuse_unbuilt
from tlsgate.relay import Pump
from tlsgate.sockets import admin_place, bind_all, listener_places, shown, socket_key
from tlsgate.tls.certificate import CertificateFault
from tlsgate.tls.waits import waits
from tlsgate.workers.process import CannotStart, sessions_within, user_id

_FIRST_PROBE = 1.0
_ADMIN = "admin"


class Gateway:
    """Serves one config until it is told to stop.

    ``reread``: gives the config of a reload, prepared. ``descriptors``: how many there may be.
    """

    def __init__(
        self, prepared: Prepared, reread: Callable[[], Prepared], log: EventLog, metrics: Metrics, descriptors: int
    ) -> None:
        self.health = Health()
        self._now = prepared
        self._reread = reread
        # A thread of its own: name look-ups that hang take all of trio's default ones.
        self._rereading = trio.CapacityLimiter(1)
        self._log = log
        self._metrics = metrics
        self._descriptors = descriptors
        self._pump = Pump()
        self.gatehouse = gatehouse = Gatehouse(prepared.settings, prepared.rules, AdmissionTrace(log))
        metrics.bans.set_function(lambda: len(gatehouse.bans))
        self._sockets: dict[str, socket.socket] = {}
        self._listeners: dict[str, Listener] = {}
        self._attended: dict[Listener, trio.CancelScope] = {}
        self._pools: Mapping[str, Pool] = {}
        self._watches = trio.CancelScope()
        self._empty = trio.Event()

    def bind(self) -> dict[str, str]:
        """Bind every address; gives those of the listeners by name. Raises CannotStart. Needs privileges."""
        settings = self._now.settings
        refuse_unbuilt(settings)
        places = listener_places(self._now.listeners)
        self._sockets = bind_all({**places, _ADMIN: admin_place(settings.admin, user_id(settings.server.user))})
        return {each.name: shown(self._sockets[socket_key(each)]) for each in self._now.listeners}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve what was bound until SIGTERM or SIGINT, then drain. Reports when it accepts."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                nursery.start_soon(self._pump.run)
                waits()  # takes a descriptor: while there is one
                plan = self._planned(self._now)
                # The backends have a moment to say what they can do, before clients ask.
                with trio.move_on_after(_FIRST_PROBE):
                    await probe_all(plan.spoken_to)
                self._serve(plan)
                self.health.ready = True
                nursery.start_soon(self.gatehouse.run)
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

    def _planned(self, prepared: Prepared) -> Plan:
        return make_plan(prepared, self._pools, self._pump, self._log, self._metrics)

    def _serve(self, plan: Plan) -> None:
        """Make what is served follow ``plan``, whose sockets are bound. Sessions that live go on as they began."""
        self._now, self._pools = plan.prepared, plan.pools
        settings = self._now.settings
        self.gatehouse.apply(settings, self._now.rules, self._room(settings))
        desk = replace(self.gatehouse.desk(settings.limits), leave=self._left)
        self._metrics.certificates(self._now.contexts.certificates)
        for name, pool in self._pools.items():
            pool.serve(self._now.backend_contexts[name], settings.limits.backend_connections)
        backends = [backend for pool in self._pools.values() for backend in pool.backends]
        self._metrics.backends.served = frozenset((backend.pool, backend.address) for backend in backends)
        for key in self._listeners.keys() - plan.listeners.keys():
            gone = self._listeners.pop(key)
            gone.stop()
            self._nursery.start_soon(self._end_sessions, gone, settings.server.drain)
        for key, (service, trace) in plan.listeners.items():
            if (listener := self._listeners.get(key)) is not None:
                listener.service, listener.desk, listener.trace = service, desk, trace
                continue
            listener = Listener(self._sockets.pop(key), service, self.gatehouse.door, desk, trace)
            self._listeners[key] = listener
            self._nursery.start_soon(self._attend, listener)
        self._watches.cancel()
        self._watches = trio.CancelScope()
        self._nursery.start_soon(_watch, plan.spoken_to, self._watches)
        for remark in plan.remarks:
            self._log.emit(remark.event, "warning", about=remark.about, reason=remark.text)

    async def _attend(self, listener: Listener) -> None:
        """A listener and its sessions, until both have ended."""
        async with trio.open_nursery() as sessions:
            self._attended[listener] = sessions.cancel_scope
            await listener.run(sessions)
        del self._attended[listener]

    async def _end_sessions(self, listener: Listener, drain: float) -> None:
        """End what still lives of a listener that is no more, ``drain`` seconds from now."""
        await trio.sleep(drain)
        if (attended := self._attended.get(listener)) is not None:
            attended.cancel()
        self._pump.end_all("shutdown", listener)

    def _room(self, settings: Config) -> int:
        """How many connections there may be: no more than there are descriptors for."""
        wanted, most = settings.limits.connections, sessions_within(self._descriptors)
        if most < wanted:
            numbers = {"descriptors": self._descriptors, "wanted": wanted, "connections": most}
            self._log.emit("few_descriptors", "warning", key="limits.connections", **numbers)
        return min(wanted, most)

    async def _serve_admin(self) -> None:
        from tlsgate.ops.admin import serve_admin  # dear to import: clients are served first

        bound, address = self._sockets.pop(_ADMIN), self._now.settings.admin.address
        try:
            await serve_admin(bound, self._metrics.registry, self.health, self._log)
        finally:
            if isinstance(address, config.UnixPath):
                remove_stale(address.path)

    def _addresses(self) -> str:
        named = ((each.name, self._listeners[socket_key(each)].socket) for each in self._now.listeners)
        return ", ".join(f"{name} {shown(bound)}" for name, bound in named)

    # -- reload and drain ---------------------------------------------------------------------------

    async def _reload(self) -> None:
        """Take over a new config, or keep the old one and say why."""
        before = self._now.settings
        try:
            plan = await self._new_plan()
        except (ConfigError, CertificateFault, CannotStart) as fault:
            self._rejected(str(fault))
        except Exception as fault:  # noqa: BLE001 - a fault of ours mustn't end what is served; the log has it
            place = traceback.extract_tb(fault.__traceback__)[-1]
            self._rejected(f"{type(fault).__name__} in {Path(place.filename).name}:{place.lineno}")
        else:
            self._serve(plan)
            self._metrics.config_reload.labels("ok").inc()
            waiting = needs_restart(before, self._now.settings)
            self._log.emit("config_reloaded", listeners=self._addresses(), needs_restart=waiting)

    async def _new_plan(self) -> Plan:
        """Read the config again and bind what is new there: all that can fail, and nothing that is served changes."""
        prepared = await trio.to_thread.run_sync(self._reread, limiter=self._rereading)
        refuse_unbuilt(prepared.settings)
        plan = self._planned(prepared)
        wanted, held = listener_places(prepared.listeners), listener_places(self._now.listeners)
        new = {key: place for key, place in wanted.items() if key not in held}
        self._sockets |= bind_all(new, [place for key, place in held.items() if key not in wanted])
        return plan

    def _rejected(self, reason: str) -> None:
        self._metrics.config_reload.labels("rejected").inc()
        self._log.emit("config_rejected", "error", reason=reason)

    async def _drain(self, signals: AsyncIterator[int]) -> None:
        """Accept no more; live sessions go on for ``server.drain``, or until a second signal."""
        self.health.ready = False
        for listener in self._listeners.values():
            listener.stop()
        self._log.emit("draining", sessions=self.gatehouse.door.used)
        if self.gatehouse.door.used:
            # A nursery of its own: who waits for signals must have ended before their receiver has.
            async with trio.open_nursery() as waiting:
                waiting.cancel_scope.deadline = trio.current_time() + self._now.settings.server.drain
                waiting.start_soon(_cancel_at_signal, signals, waiting.cancel_scope)
                await self._empty.wait()
                waiting.cancel_scope.cancel()

    def _left(self, visit: Visit) -> None:
        self.gatehouse.leave(visit)
        if not self.gatehouse.door.used and not self.health.ready:
            self._empty.set()


async def _watch(pools: Spoken, scope: trio.CancelScope) -> None:
    with scope:
        await watch(pools)


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            scope.cancel()
