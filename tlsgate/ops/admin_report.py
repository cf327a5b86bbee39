"""The client report at the admin address: GET /api/report."""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlsgate.ops.admin_guard import refusal
from tlsgate.ops.client_report import MOST, Habit, Noted

_JSON = "application/json"
_ALL = MOST * len(Habit)


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=_ALL)] = _ALL


class ReportControls(Protocol):
    """What the route calls, on the trio loop: what was noted last, of all processes, the latest first."""

    async def clients(self, most: int) -> list[Noted]: ...


def report_routes(controls: ReportControls) -> list[Route]:
    """What is served of it."""
    # A thread of its own: name look-ups that hang take all of trio's default ones.
    encoding = trio.CapacityLimiter(1)

    async def report(request: Request) -> Response:
        try:
            wanted = msgspec.convert(dict(request.query_params), _Wanted, strict=False)
        except ValueError as wrong:
            return refusal(400, str(wrong))
        noted = await controls.clients(wanted.limit)
        return Response(await trio.to_thread.run_sync(msgspec.json.encode, noted, limiter=encoding), media_type=_JSON)

    return [Route("/api/report", report, methods=["GET"])]
