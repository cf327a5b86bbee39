"""What the admin API tells of the gateway as a whole, and what it may have it do: drain and reload."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import trio

from tlsgate import __version__
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.ops.client_report import Noted
from tlsgate.ops.gateway_view import CertificateView, GatewayView, ListenerView, ReloadView
from tlsgate.ops.health import Health
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.pool_view import PoolView
from tlsgate.prepared import Prepared
from tlsgate.server import Server
from tlsgate.tls import library


class Overview:
    """``served``: gives the config in force, and where each of its listeners listens. ``reload``: None while draining.

    ``last_reload``: what became of it; None before the first.
    """

    def __init__(
        self,
        gatehouse: Gatehouse,
        metrics: Metrics,
        health: Health,
        server: Server,
        served: Callable[[], tuple[Prepared, Mapping[str, str]]],
        reload: Callable[[], Awaitable[ReloadView | None]],
    ) -> None:
        self.last_reload: ReloadView | None = None
        self._gatehouse = gatehouse
        self._metrics = metrics
        self._health = health
        self._served = served
        self._reload = reload
        self._started = time.time()
        self._told_to_drain = False
        self._server = server
        self.report = server.report
        self.sessions = server.sessions
        self.kick = server.kick

    async def state(self) -> GatewayView:
        """How things are."""
        await self._server.report()
        prepared, addresses = self._served()
        settings, door = prepared.settings, self._gatehouse.door
        certificates = {str(each.path): each.expires.timestamp() for each in prepared.contexts.certificates}
        return GatewayView(
            version=__version__,
            openssl=library.VERSION,
            hostname=settings.server.hostname,
            started=round(self._started, 3),
            uptime=round(max(0.0, time.time() - self._started), 3),
            phase="draining" if self._told_to_drain or not self._health.ready else "serving",
            connections=door.used,
            most_connections=door.room,
            bans=len(self._gatehouse.bans),
            listeners=_listeners(prepared, addresses, self._metrics.listeners.phases()),
            workers=self._server.workers(),
            certificates=[CertificateView(path, expires) for path, expires in certificates.items()],
            limits=msgspec.to_builtins(settings.limits),
            reload=self.last_reload,
        )

    async def pools(self) -> list[PoolView]:
        """What is known of every pool of the config in force."""
        found: dict[str, PoolView | None] = dict.fromkeys(self._served()[0].settings.pools)

        async def ask(name: str) -> None:
            found[name] = await self._server.pool(name)

        async with trio.open_nursery() as nursery:
            for name in found:
                nursery.start_soon(ask, name)
        return [pool for pool in found.values() if pool is not None]

    async def clients(self, most: int) -> list[Noted]:
        """The old clients that were seen last."""
        await self._server.report()
        return self._metrics.clients.rows(most)

    async def drain(self) -> bool:
        """As SIGTERM; False when it was told before: a second one would end the sessions at once."""
        if self._told_to_drain or not self._health.ready:
            return False
        self._told_to_drain = True
        signal.raise_signal(signal.SIGTERM)
        return True

    async def reload(self) -> ReloadView | None:
        """As SIGHUP, and what became of it; None when the gateway drains."""
        return await self._reload()


def _listeners(
    prepared: Prepared, addresses: Mapping[str, str], phases: Mapping[str, dict[str, int]]
) -> list[ListenerView]:
    views = [
        ListenerView(each.name, each.protocol, each.tls, addresses.get(each.name), phases.get(each.name, {}))
        for each in prepared.listeners
    ]
    known = {each.name for each in prepared.listeners}
    gone = [name for name, counts in phases.items() if name not in known and any(counts.values())]
    return views + [ListenerView(name, None, None, None, phases[name]) for name in gone]
