"""The admin address: /metrics, /healthz, /readyz."""

from __future__ import annotations

import logging
import socket
from typing import cast

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tlsgate.ops.health import Health
from tlsgate.ops.log import EventLog

_LONGEST_REQUEST = 16384


def application(registry: CollectorRegistry, health: Health) -> Starlette:
    """What is served at the admin address."""
    # A thread of its own: name look-ups that hang take all of trio's default ones.
    encoding = trio.CapacityLimiter(1)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(await trio.to_thread.run_sync(encode, registry, limiter=encoding), media_type=content_type)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        return PlainTextResponse("ready\n") if health.ready else PlainTextResponse("not ready\n", 503)

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)],
    )


async def serve_admin(listening: socket.socket, registry: CollectorRegistry, health: Health, log: EventLog) -> None:
    """Serve HTTP/1.1 on a bound socket until cancelled; owns the socket. A fault ends this and nothing else."""
    settings = HypercornConfig()
    settings.bind = [f"fd://{listening.detach()}"]
    settings.accesslog = None
    settings.errorlog = logging.getLogger("tlsgate.admin")
    settings.include_server_header = False
    settings.alpn_protocols = ["http/1.1"]
    settings.h11_max_incomplete_size = _LONGEST_REQUEST
    settings.keep_alive_timeout = 15
    settings.read_timeout = 10
    settings.graceful_timeout = 1
    try:
        await serve(cast(ASGIFramework, application(registry, health)), settings, mode="asgi")
    except Exception as fault:  # noqa: BLE001 - sessions go on without it; the log says that it is gone
        log.emit("admin_failed", "error", reason=type(fault).__name__)
