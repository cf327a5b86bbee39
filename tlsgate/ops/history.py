"""The last hour in a few numbers, for the charts of the status page: GET /api/history."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
import trio
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STEP = 15.0
_ROOM = 241  # an hour, with both of its ends


class Totals(msgspec.Struct):
    """Counted since the start, but for ``sessions``, which live now. ``handshakes``: good ones; ``old_tls``: of those,
    the ones below TLS 1.3. ``cleartext``: logins that were tried before TLS."""

    sessions: int = 0
    handshakes: int = 0
    old_tls: int = 0
    logins: int = 0
    failed: int = 0
    cleartext: int = 0


class Point(msgspec.Struct, frozen=True):
    """``at``: seconds of the epoch. ``sessions``: those that lived then; the others: counted within the step before."""

    at: float
    sessions: int
    logins: int
    failed: int
    old_tls: int
    cleartext: int


class HistoryView(msgspec.Struct, frozen=True):
    """``step``: seconds. ``room``: how many points there are at most. ``points``: the oldest first."""

    step: float
    room: int
    points: list[Point]
    totals: Totals


class History:
    """``report``: has the registry's numbers brought up to date."""

    def __init__(self, registry: CollectorRegistry, report: Callable[[], Awaitable[None]]) -> None:
        self._registry = registry
        self._report = report
        self._points: deque[Point] = deque(maxlen=_ROOM)
        self._totals = Totals()
        # A thread of its own: name look-ups that hang take all of trio's default ones.
        self._counting = trio.CapacityLimiter(1)

    async def keep(self) -> None:
        """Take a point every step, until cancelled."""
        begun = False
        while True:
            if (now := await self._count()) is not None:
                if begun:
                    self.take(now)
                self._totals, begun = now, True
            await trio.sleep(STEP)

    def view(self) -> HistoryView:
        """What is kept."""
        return HistoryView(STEP, _ROOM, list(self._points), self._totals)

    def take(self, now: Totals) -> None:
        """Keep what a step has brought."""
        before, self._totals = self._totals, now
        # A worker that was lost takes what it counted since its last report with it.
        grown = (max(0, getattr(now, each) - getattr(before, each)) for each in Point.__struct_fields__[2:])
        self._points.append(Point(round(time.time(), 3), now.sessions, *grown))

    async def _count(self) -> Totals | None:
        try:
            await self._report()
            return await trio.to_thread.run_sync(totals, self._registry, limiter=self._counting)
        except Exception:  # noqa: BLE001 - a gap in the charts; who asks for /metrics sees the fault
            return None


def totals(registry: CollectorRegistry) -> Totals:
    """Out of the registry's metrics. Safe in another thread."""
    found = Totals()
    for family in registry.collect():
        for sample in family.samples:
            labels = sample.labels
            match sample.name:
                case "tlsgate_sessions":
                    found.sessions += int(sample.value)
                case "tlsgate_tls_handshakes_total" if labels["result"] == "ok":
                    found.handshakes += int(sample.value)
                    found.old_tls += 0 if labels["version"] == "TLSv1.3" else int(sample.value)
                case "tlsgate_logins_total" if labels["result"] == "ok":
                    found.logins += int(sample.value)
                case "tlsgate_logins_total" if labels["result"] != "cleartext":
                    found.failed += int(sample.value)
                case "tlsgate_cleartext_auth_refused_total":
                    found.cleartext += int(sample.value)
    return found


def history_routes(history: History) -> list[Route]:
    """What is served of it."""

    async def show(_request: Request) -> Response:
        return Response(msgspec.json.encode(history.view()), media_type="application/json")

    return [Route("/api/history", show, methods=["GET"])]
