"""The composition root: a Config in, a running gateway out. Reload and drain live here."""

from __future__ import annotations

import gc
import signal
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import trio

from tlsgate import __version__, certificate_watch, config
from tlsgate.activation import PassedSockets
from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.arrival import Arrival
from tlsgate.config import Config, ConfigError
from tlsgate.controls import Controls
from tlsgate.listening import Listening, close_all
from tlsgate.ops.admission_trace import AdmissionTrace
from tlsgate.ops.fleet_trace import FleetTrace
from tlsgate.ops.gateway_view import ReloadView
from tlsgate.ops.health import Health
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.overview import Overview
from tlsgate.plan import Plan, make_plan
from tlsgate.prepared import Prepared, needs_restart
from tlsgate.relay import Pump
from tlsgate.renewal import Renewal, Renewing
from tlsgate.server import Here, Server, Workers
from tlsgate.serving import Serving
from tlsgate.sockets import remove_stale
from tlsgate.tls.certificate import CertificateFault
from tlsgate.workers.counts import Counts
from tlsgate.workers.fleet import Fleet
from tlsgate.workers.process import CannotStart, sessions_within, worker_count
from tlsgate.workers.spawner import Spawner, SpawnFault


class Gateway:
    """Serves one config until it is told to stop.

    ``reread``: gives the config of a reload, prepared. ``descriptors``: how many there may be. ``spawner``: of the
    workers that serve; None serves in this process. ``passed``: sockets that are bound already.
    """

    def __init__(
        self,
        prepared: Prepared,
        reread: Callable[[], Prepared],
        log: EventLog,
        metrics: Metrics,
        descriptors: int,
        spawner: Spawner | None = None,
        passed: PassedSockets | None = None,
    ) -> None:
        self.health = Health()
        self._now = prepared
        self._reread = reread
        self._certificates: Renewing = spawner or Renewal(lambda: self._now)
        # A thread of its own: name look-ups that hang take all of trio's default ones.
        self._rereading = trio.CapacityLimiter(1)
        self._log = log
        self._metrics = metrics
        self._descriptors = descriptors
        told = AdmissionTrace(log)
        self.gatehouse = gatehouse = Gatehouse(prepared.settings, prepared.rules, told)
        metrics.bans.set_function(lambda: len(gatehouse.bans))
        if gatehouse.shared is not None:
            metrics.shared_state(lambda: told.state_is_up, lambda: told.state_faults)
        self._server = self._who_serves(spawner)
        self._listening = listening = Listening(PassedSockets() if passed is None else passed)
        self._empty = trio.Event()
        self._reloading = trio.Lock()
        self._loading = trio.CancelScope()  # that of the last load
        self._overview = Overview(
            gatehouse, metrics, self.health, self._server, lambda: (self._now, listening.addresses), self._reload
        )

    def bind(self) -> dict[str, str]:
        """Bind every address; gives those of the listeners by name. Raises CannotStart. Needs privileges."""
        return self._listening.bind(self._now)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve what was bound until SIGTERM or SIGINT, then drain. Reports when it accepts."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                await nursery.start(self.gatehouse.run)
                plan = await self._server.start(nursery, self._now)
                self._serve(plan)
                self.health.ready = True
                nursery.start_soon(self._serve_admin)
                served, log = lambda: self._now.contexts.certificates, self._log
                nursery.start_soon(certificate_watch.watch, self._certificates, self._renew, served, log)
                # What start-up made lives for ever: the collector needn't look at it again.
                gc.collect()
                gc.freeze()
                self._log.emit("started", version=__version__, listeners=self._named_addresses())
                task_status.started()
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    if not self._reloading.statistics().tasks_waiting:  # else one is to come that reads what is there
                        nursery.start_soon(self._reload)
                await self._drain(signals)
            await self._server.stop()
            nursery.cancel_scope.cancel()
        self._log.emit("stopped")

    # -- what is served -----------------------------------------------------------------------------

    def _who_serves(self, spawner: Spawner | None) -> Server:
        log, metrics = self._log, self._metrics
        if spawner is None:
            return Here(Serving(log, metrics), self.gatehouse, self.left)
        count = worker_count(self._now.settings.server.workers)
        fleet = Fleet(spawner, count, self.gatehouse, Counts(metrics), FleetTrace(log), self._look_if_empty)
        relays_nothing = Pump()  # one for all plans: each has a descriptor
        return Workers(fleet, lambda prepared: make_plan(prepared, {}, relays_nothing, log, metrics))

    def _serve(self, plan: Plan) -> None:
        """Make what is served follow ``plan``, whose sockets are bound. Sessions that live go on as they began."""
        self._now = plan.prepared
        settings = self._now.settings
        self.gatehouse.apply(settings, self._now.rules, self._room(settings))
        gone = self._listening.stop_gone(plan)
        self._server.take_over(plan, gone, settings.server.drain)
        self._metrics.certificates(self._now.contexts.certificates)
        self._metrics.backends.served = plan.backends
        self._listening.open(plan, self.gatehouse.door, self, self._nursery)
        for remark in plan.remarks:
            self._log.emit(remark.event, "warning", about=remark.about, reason=remark.text)
        for name, address in self._listening.unused():
            self._log.emit("socket_unused", "warning", name=name, address=address)

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        """A connection was let in; False when nobody can serve it."""
        return self._server.begin(listener, arrival, entry)

    def left(self, entry: Entry) -> None:
        """A connection that was let in is closed."""
        self.gatehouse.door.leave(entry)
        self._look_if_empty()

    def _look_if_empty(self) -> None:
        if not self.gatehouse.door.used and not self.health.ready:
            self._empty.set()

    def _room(self, settings: Config) -> int:
        """How many connections there may be: no more than there are descriptors for."""
        wanted, most = settings.limits.connections, sessions_within(self._descriptors) * self._server.processes
        if most < wanted:
            numbers = {"descriptors": self._descriptors, "wanted": wanted, "connections": most}
            self._log.emit("few_descriptors", "warning", key="limits.connections", **numbers)
        return min(wanted, most)

    async def _serve_admin(self) -> None:
        from tlsgate.ops.admin import serve_admin  # dear to import: clients are served first

        bound, address = self._listening.admin(), self._now.settings.admin.address
        try:
            controls = Controls(self.gatehouse.bans, lambda: self._now.admin_token, self._overview)
            await serve_admin(bound, self._metrics.registry, self.health, controls, self._log)
        finally:
            if isinstance(address, config.UnixPath):
                remove_stale(address.path)

    def _named_addresses(self) -> str:
        return ", ".join(f"{name} {address}" for name, address in self._listening.addresses.items())

    # -- reload and drain ---------------------------------------------------------------------------

    async def _reload(self) -> ReloadView | None:
        """Take over a new config, or keep the old one and say why; None when it is too late for another."""
        async with self._reloading:
            return await self._take_over() if self.health.ready else None

    async def _take_over(self) -> ReloadView:
        before = self._now.settings
        if fault := await self._attempt(self._reread):
            return self._rejected(fault)
        self._metrics.config_reload.labels("ok").inc()
        waiting = needs_restart(before, self._now.settings)
        self._log.emit("config_reloaded", listeners=self._named_addresses(), needs_restart=waiting)
        return self._reloaded(ReloadView(time.time(), True, "", waiting))

    async def _renew(self) -> str | None:
        """Take over certificates that have changed: "", or why not; None when it is too late."""
        async with self._reloading:
            return await self._attempt(self._certificates.renewed) if self.health.ready else None

    async def _attempt(self, load: Callable[[], Prepared]) -> str:
        """Serve what ``load`` gives. "", or why not: then nothing has changed."""
        try:
            plan = await self._new_plan(load)
        except (ConfigError, CertificateFault, CannotStart, SpawnFault) as fault:
            return str(fault)
        except Exception as fault:  # noqa: BLE001 - a fault of ours mustn't end what is served; the log has it
            place = traceback.extract_tb(fault.__traceback__)[-1]
            return f"{type(fault).__name__} in {Path(place.filename).name}:{place.lineno}"
        self._serve(plan)
        return ""

    async def _new_plan(self, load: Callable[[], Prepared]) -> Plan:
        """Load it and bind what is new there: all that can fail, and nothing that is served changes."""
        prepared = await self._loaded(load)
        bound = self._listening.bind_new(prepared, self._now)
        done = False
        try:
            plan = await self._server.renew(prepared)
            done = True
        finally:
            if not done:
                close_all(bound)
        self._listening.hold(bound)
        return plan

    async def _loaded(self, load: Callable[[], Prepared]) -> Prepared:
        with trio.CancelScope() as self._loading:
            return await trio.to_thread.run_sync(load, limiter=self._rereading, abandon_on_cancel=True)
        raise CannotStart("the gateway stops")

    def _rejected(self, reason: str) -> ReloadView:
        self._metrics.config_reload.labels("rejected").inc()
        self._log.emit("config_rejected", "error", reason=reason)
        return self._reloaded(ReloadView(time.time(), False, reason, ""))

    def _reloaded(self, what: ReloadView) -> ReloadView:
        self._overview.last_reload = what
        return what

    async def _drain(self, signals: AsyncIterator[int]) -> None:
        """Accept no more; live sessions go on for ``server.drain``, or until a second signal."""
        self.health.ready = False
        self._loading.cancel()  # it may hang
        async with self._reloading:  # one may be under way: it mustn't bring back what stops now
            pass
        self._listening.stop()
        self._log.emit("draining", sessions=self.gatehouse.door.used)
        self._server.retire_all()
        if self.gatehouse.door.used:
            # A nursery of its own: who waits for signals must have ended before their receiver has.
            async with trio.open_nursery() as waiting:
                waiting.cancel_scope.deadline = trio.current_time() + self._now.settings.server.drain
                waiting.start_soon(_cancel_at_signal, signals, waiting.cancel_scope)
                await self._empty.wait()
                waiting.cancel_scope.cancel()


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            scope.cancel()
