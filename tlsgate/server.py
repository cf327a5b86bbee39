"""Who serves the connections that the gateway has let in: this process, or its workers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import trio

from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.arrival import Arrival
from tlsgate.ops.gateway_view import WorkerView
from tlsgate.ops.pool_view import PoolView
from tlsgate.ops.pool_view import merged as merged_pool
from tlsgate.ops.session_view import Page, Wanted
from tlsgate.ops.session_view import merged as merged_page
from tlsgate.plan import Plan
from tlsgate.prepared import Prepared
from tlsgate.serving import Serving
from tlsgate.workers.fleet import Fleet
from tlsgate.workers.orders import KICK, POOL, SESSIONS
from tlsgate.workers.process import CannotStart
from tlsgate.workers.spawner import SpawnFault

# Seconds for which workers may answer an admin: to look, and to end sessions.
_LOOKING, _KICKING = 1.0, 5.0

Left = Callable[[Entry], None]
"""Is told of each connection that has ended."""


class Server(Protocol):
    """What the gateway asks of it. ``processes``: how many share the connections."""

    processes: int

    async def start(self, nursery: trio.Nursery, prepared: Prepared) -> Plan:
        """Be ready to serve a config, in tasks of ``nursery``. Raises CannotStart."""

    async def renew(self, prepared: Prepared) -> Plan:
        """Be ready to serve another. Raises SpawnFault: then nothing has changed."""

    def take_over(self, plan: Plan, gone: Collection[str], drain: float) -> None:
        """Serve by a plan of ``start`` or ``renew`` from now on. Sessions of listeners ``gone`` end in ``drain`` s."""

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        """A connection was let in; False when nobody can serve it."""

    def retire_all(self) -> None:
        """No more will be."""

    async def stop(self) -> None:
        """End what still lives."""

    async def report(self) -> None:
        """Bring the metrics up to date."""

    async def sessions(self, wanted: Wanted) -> Page:
        """Those that live. Raises ValueError: ``wanted.client`` is no prefix."""

    async def kick(self, wanted: Wanted) -> int:
        """End sessions; gives how many."""

    async def pool(self, name: str) -> PoolView | None:
        """What is known of a pool; None where nobody knows it."""

    def workers(self) -> list[WorkerView]:
        """The workers; none where this process serves."""


class Here:
    """This process serves."""

    processes = 1

    def __init__(self, serving: Serving, gatehouse: Gatehouse, left: Left) -> None:
        self._serving = serving
        self._gatehouse = gatehouse
        self._left = left
        serving.elsewhere = gatehouse.shared

    async def start(self, nursery: trio.Nursery, prepared: Prepared) -> Plan:
        await nursery.start(self._serving.run)
        plan = await self._serving.plan(prepared)
        await self._serving.settle(plan, first=True)
        return plan

    async def renew(self, prepared: Prepared) -> Plan:
        plan = await self._serving.plan(prepared)
        await self._serving.settle(plan)
        return plan

    def take_over(self, plan: Plan, gone: Collection[str], drain: float) -> None:
        self._serving.desk = self._gatehouse.desk(plan.prepared.settings.limits, self._left)
        self._serving.serve(plan)
        for key in gone:
            self._serving.retire(key, drain)

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        return self._serving.begin(listener, arrival, entry)

    def retire_all(self) -> None:
        """Sessions go on until the gateway's nursery ends."""

    async def stop(self) -> None:
        """They end with the gateway's nursery."""

    async def report(self) -> None:
        """They are."""

    async def sessions(self, wanted: Wanted) -> Page:
        return await self._serving.live.page(wanted)

    async def kick(self, wanted: Wanted) -> int:
        return await self._serving.live.kick(wanted)

    async def pool(self, name: str) -> PoolView | None:
        return self._serving.pool(name)

    def workers(self) -> list[WorkerView]:
        return []


class Workers:
    """Workers serve. ``words``: makes a plan that nobody is served by here: it has the words of refusals."""

    def __init__(self, fleet: Fleet, words: Callable[[Prepared], Plan]) -> None:
        self.processes = fleet.count
        self._fleet = fleet
        self._words = words

    async def start(self, nursery: trio.Nursery, prepared: Prepared) -> Plan:
        try:
            await nursery.start(self._fleet.run)
        except SpawnFault as fault:
            raise CannotStart(f"server.workers: {fault}") from None
        return self._words(prepared)

    async def renew(self, prepared: Prepared) -> Plan:
        await self._fleet.renew()
        return self._words(prepared)

    def take_over(self, plan: Plan, gone: Collection[str], drain: float) -> None:
        self._fleet.retire_old(tuple(gone), drain)

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        return self._fleet.begin(listener, arrival, entry)

    def retire_all(self) -> None:
        self._fleet.retire_all()

    async def stop(self) -> None:
        await self._fleet.stop()

    async def report(self) -> None:
        await self._fleet.report()

    async def sessions(self, wanted: Wanted) -> Page:
        pages, unheard = await self._fleet.order(SESSIONS, wanted, Page, _LOOKING)
        return merged_page(pages, wanted, unheard)

    async def kick(self, wanted: Wanted) -> int:
        kicked, _ = await self._fleet.order(KICK, wanted, int, _KICKING)
        return sum(kicked)

    async def pool(self, name: str) -> PoolView | None:
        views, unheard = await self._fleet.order(POOL, name, PoolView, _LOOKING)
        return merged_pool(views, unheard) if views else None

    def workers(self) -> list[WorkerView]:
        return self._fleet.views()
