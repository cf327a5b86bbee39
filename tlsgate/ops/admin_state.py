"""The gateway at the admin address: GET /api/state and /api/pools; POST /api/drain and /api/reload."""

from __future__ import annotations

from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlsgate.ops.admin_guard import refusal
from tlsgate.ops.gateway_view import GatewayView, ReloadView
from tlsgate.ops.pool_view import PoolView

_JSON = "application/json"


class StateControls(Protocol):
    """What the routes call, on the trio loop. ``drain``: False when it drains already. ``reload``: None then."""

    async def state(self) -> GatewayView: ...
    async def pools(self) -> list[PoolView]: ...
    async def drain(self) -> bool: ...
    async def reload(self) -> ReloadView | None: ...


def state_routes(controls: StateControls) -> list[Route]:
    """What is served there."""

    async def state(_request: Request) -> Response:
        return Response(msgspec.json.encode(await controls.state()), media_type=_JSON)

    async def pools(_request: Request) -> Response:
        return Response(msgspec.json.encode(await controls.pools()), media_type=_JSON)

    async def drain(_request: Request) -> Response:
        begun = await controls.drain()
        return Response(msgspec.json.encode({"begun": begun}), 202, media_type=_JSON)

    async def reload(_request: Request) -> Response:
        done = await controls.reload()
        if done is None:
            return refusal(409, "the gateway drains")
        if not done.ok:
            return refusal(422, done.reason)
        return Response(msgspec.json.encode(done), media_type=_JSON)

    return [
        Route("/api/state", state, methods=["GET"]),
        Route("/api/pools", pools, methods=["GET"]),
        Route("/api/drain", drain, methods=["POST"]),
        Route("/api/reload", reload, methods=["POST"]),
    ]
