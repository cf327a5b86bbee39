"""The sessions of one process: its backends, its relay, what it asks of the DNS, and a task for each client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from tlsgate.admission.door import Entry
from tlsgate.admission.look_ups import Checks, LookUps, look_ups_for
from tlsgate.admission.visit import Desk, Visit
from tlsgate.arrival import Arrival
from tlsgate.backends.health import probe_all, watch
from tlsgate.backends.pool import Pool
from tlsgate.backends.resolve import Names
from tlsgate.config import Protocol
from tlsgate.freed_memory import give_back
from tlsgate.live import Live
from tlsgate.login_session import LoginSession
from tlsgate.mail import aliases_file
from tlsgate.mail.aliases_file import AliasesFile
from tlsgate.ops.aliases_trace import AliasesTrace
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.pool_view import PoolView, pool_view
from tlsgate.ops.screening_trace import ScreeningTrace
from tlsgate.ops.trace import ListenerTrace
from tlsgate.plan import Plan, make_plan
from tlsgate.prepared import Prepared
from tlsgate.relay import Pump
from tlsgate.service import Service
from tlsgate.session import Session
from tlsgate.state.store import Store
from tlsgate.tls.waits import waits

if TYPE_CHECKING:
    from tlsgate.http.client import Client
    from tlsgate.mail.surbl.links import Links

_A_MOMENT = 1.0


class _Floor:
    """What one listener's sessions share. ``closed``: it gets no more of them; ``done``: none is logging in."""

    def __init__(self, sessions: trio.Nursery) -> None:
        self.sessions = sessions
        self.closed, self.done = trio.Event(), trio.Event()


class Serving:
    """Serves one plan after the other while ``run`` is running; sessions that live go on as they began.

    ``desk``: what the visits of those to come ask. ``elsewhere``: who counts the backends' connections, if not we.
    ``live``: the sessions that there are.
    """

    desk: Desk
    elsewhere: Store | None = None

    def __init__(self, log: EventLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._pump = Pump()
        self.live = Live(self._pump)
        self._names = Names()
        self._pools: Mapping[str, Pool] = {}
        self._services: Mapping[str, tuple[Service, ListenerTrace]] = {}
        self._floors: dict[str, _Floor] = {}
        self._look_ups: LookUps | None = None
        self._links: Links | None = None
        self._aliases: AliasesFile | None = None
        self._http: Client | None = None
        self._watches = trio.CancelScope()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Reports when plans can be made; until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            waits()  # takes a descriptor: while there is one
            nursery.start_soon(self._pump.run)
            nursery.start_soon(give_back, lambda: len(self.live))
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._ask_servers_by(None)

    async def plan(self, prepared: Prepared) -> Plan:
        """How a config will be served, and room for the sessions of its listeners. Changes nothing that is served."""
        trace = ScreeningTrace(self._metrics.screening.here, self._log)
        look_ups = look_ups_for(prepared.settings, prepared.listeners, self._look_ups, trace, self._nursery)
        links = self._links_for(prepared, look_ups, trace)
        plan = make_plan(
            prepared, self._pools, self._pump, self._log, self._metrics, look_ups, self._aliases, links, self._names
        )
        for key in plan.listeners.keys() - self._floors.keys():
            await self._nursery.start(self._hold, key)
        return plan

    async def settle(self, plan: Plan, *, first: bool = False) -> None:
        """Give the DNS lists of ``plan`` a moment to be tested; at the ``first``, backends too to say what they can."""
        self._test_lists(plan)
        if first:
            self._ask_names(plan)
        with trio.move_on_after(_A_MOMENT):
            if first:
                await probe_all(plan.spoken_to)
            await plan.lists_tested()

    def serve(self, plan: Plan) -> None:
        """Serve those to come by ``plan``, which was made here."""
        self._pools, self._services = plan.pools, plan.listeners
        if self._look_ups is not None and self._look_ups is not plan.look_ups:
            self._look_ups.stop()
        if self._links is not None and self._links is not plan.links:
            self._links.stop()
        self._look_ups, self._links = plan.look_ups, plan.links
        for name, pool in self._pools.items():
            limits = plan.prepared.settings.limits
            pool.serve(plan.prepared.backend_contexts[name], limits.backend_connections, self.elsewhere)
            pool.hostname = plan.prepared.settings.server.hostname
        self._ask_names(plan)
        self._ask_servers_by(plan.http)
        self._aliases = plan.aliases
        if self._aliases is not None and plan.prepared.aliases is not None:
            self._aliases.take(plan.prepared.aliases.content)
        self._watches.cancel()
        self._watches = trio.CancelScope()
        self._nursery.start_soon(_watch, plan, AliasesTrace(self._log), self._watches)

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        """A session of the listener with this key; False if the listener is no more."""
        if listener not in self._services or listener not in self._floors:
            return False
        service, told = self._services[listener]
        floor = self._floors[listener]
        trace = told.accepted(arrival.host, arrival.port)
        session = _session_of(service.protocol)
        visit = Visit(entry, self.desk)
        floor.sessions.start_soon(self.live.run, trace, session(service, arrival, trace, visit, floor))
        return True

    def pool(self, name: str) -> PoolView | None:
        """What is known here of a pool."""
        return None if (pool := self._pools.get(name)) is None else pool_view(pool)

    def retire(self, listener: str, seconds: float) -> None:
        """A listener is no more; end what still lives of it in ``seconds``."""
        if (floor := self._floors.pop(listener, None)) is not None:
            floor.closed.set()
            self._nursery.start_soon(self._end, floor, seconds)

    def _ask_names(self, plan: Plan) -> None:
        """Backends' names are asked for as this plan's ``[dns]`` says."""
        self._names.ask_at(plan.prepared.settings.dns, ScreeningTrace(self._metrics.screening.here, self._log))

    def _ask_servers_by(self, client: Client | None) -> None:
        """The last plan's connections end as they fall idle; its sessions may still ask."""
        if self._http is not None and self._http is not client:
            self._http.close()
        self._http = client

    def _test_lists(self, plan: Plan) -> None:
        if plan.look_ups is not None and plan.look_ups is not self._look_ups:
            self._nursery.start_soon(plan.look_ups.watch)

        if plan.links is not None and plan.links is not self._links:
            self._nursery.start_soon(plan.links.watch)

    def _links_for(self, prepared: Prepared, look_ups: LookUps | None, trace: ScreeningTrace) -> Links | None:
        """What messages' links are asked about with; what is there stays while it serves."""
        settings = prepared.settings
        if look_ups is None or not any(Checks.of(each, settings).surbl for each in prepared.listeners):
            return None
        zones = settings.screening.surbl_zones
        if self._links is not None and look_ups is self._look_ups and self._links.serves(zones):
            return self._links
        from tlsgate.mail.surbl.links import Links  # as in _session_of

        return Links(zones, look_ups.resolver, trace, self._nursery, look_ups.timeout)

    async def _hold(self, key: str, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as sessions:
            floor = self._floors[key] = _Floor(sessions)
            task_status.started()
            await floor.closed.wait()
        floor.done.set()

    async def _end(self, floor: _Floor, seconds: float) -> None:
        await trio.sleep(seconds)
        floor.sessions.cancel_scope.cancel()
        self._pump.end_all("shutdown", floor)
        await floor.done.wait()
        self._pump.end_all("shutdown", floor)  # who was on the way to the relay when the others were ended


def _session_of(protocol: Protocol) -> type[Session]:
    if protocol is not Protocol.MX:
        return LoginSession
    from tlsgate.mx_session import MxSession  # a tenth of the start, with all that it asks for: only where it is wanted

    return MxSession


async def _watch(plan: Plan, trace: AliasesTrace, scope: trio.CancelScope) -> None:
    with scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, plan.spoken_to)
            if plan.aliases is not None:
                nursery.start_soon(aliases_file.watch, plan.aliases, trace)
            if plan.last_uses is not None:
                nursery.start_soon(plan.last_uses.run)
