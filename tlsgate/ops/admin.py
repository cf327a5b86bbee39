"""The admin address: the status page, /metrics, /healthz, /readyz, /api."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Protocol

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tlsgate.ops.admin_bans import BanControls, ban_routes
from tlsgate.ops.admin_guard import Guard, Reach, reach_of
from tlsgate.ops.admin_report import ReportControls, report_routes
from tlsgate.ops.admin_sessions import SessionControls, session_routes
from tlsgate.ops.admin_state import StateControls, state_routes
from tlsgate.ops.health import Health
from tlsgate.ops.history import History, history_routes
from tlsgate.ops.http_server import kind, serve_http
from tlsgate.ops.log import EventLog
from tlsgate.ops.status_page import page_routes
from tlsgate.ops.token import Token


class Controls(BanControls, ReportControls, SessionControls, StateControls, Protocol):
    """All that the API calls. ``token``: gives the one in force. ``report``: has metrics brought up to date."""

    @property
    def token(self) -> Callable[[], Token | None]: ...
    async def report(self) -> None: ...


def application(
    registry: CollectorRegistry, health: Health, controls: Controls, history: History, reach: Reach
) -> Starlette:
    """What is served at the admin address, to those that its ``reach`` and the token let in."""
    # A thread of its own: name look-ups that hang take all of trio's default ones.
    encoding = trio.CapacityLimiter(1)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        await controls.report()
        return Response(await trio.to_thread.run_sync(encode, registry, limiter=encoding), media_type=content_type)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        return PlainTextResponse("ready\n") if health.ready else PlainTextResponse("not ready\n", 503)

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *ban_routes(controls),
            *session_routes(controls),
            *state_routes(controls),
            *report_routes(controls),
            *history_routes(history),
            *page_routes(),
        ],
        middleware=[Middleware(Guard, reach, controls.token)],
    )


async def serve_admin(
    listening: socket.socket, registry: CollectorRegistry, health: Health, controls: Controls, log: EventLog
) -> None:
    """Serve on a bound socket until cancelled; owns the socket. A fault ends this and nothing else."""
    history = History(registry, controls.report)
    served = application(registry, health, controls, history, reach_of(listening))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(history.keep)
            await serve_http(listening, served, logging.getLogger("tlsgate.admin"))
    except* Exception as faults:  # noqa: BLE001 - sessions go on without it; the log says that it is gone
        log.emit("admin_failed", "error", reason=kind(faults))
