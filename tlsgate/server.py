"""Who serves the connections that the gateway has let in: this process, or its workers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import trio

from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.arrival import Arrival
from tlsgate.plan import Plan
from tlsgate.prepared import Prepared
from tlsgate.serving import Serving
from tlsgate.workers.fleet import Fleet
from tlsgate.workers.process import CannotStart
from tlsgate.workers.spawner import SpawnFault

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
