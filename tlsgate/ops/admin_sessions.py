"""Live sessions at the admin address.

GET /api/sessions lists them; DELETE /api/sessions/ID ends one, DELETE /api/sessions?user=NAME all of a user.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlsgate.ops.admin_guard import refusal
from tlsgate.ops.session_view import Page, Wanted

_JSON = "application/json"


class SessionControls(Protocol):
    """What the routes call, on the trio loop. ValueError says what is wrong with what is wanted."""

    async def sessions(self, wanted: Wanted) -> Page: ...
    async def kick(self, wanted: Wanted) -> int: ...


def session_routes(controls: SessionControls) -> list[Route]:
    """What is served below /api/sessions."""

    async def listing(request: Request) -> Response:
        try:
            wanted = msgspec.convert(dict(request.query_params), Wanted, strict=False)
            page = await controls.sessions(wanted)
        except ValueError as wrong:
            return refusal(400, str(wrong))
        return Response(msgspec.json.encode(page), media_type=_JSON)

    async def kick_one(request: Request) -> Response:
        return await _kick({"id": request.path_params["session"]})

    async def kick_user(request: Request) -> Response:
        # Any other filter, or a misspelt one, would end sessions that nobody meant.
        if request.query_params.keys() != {"user"} or not request.query_params["user"]:
            return refusal(400, "name a session in the path, or ?user=NAME and nothing else")
        return await _kick({"user": request.query_params["user"]})

    async def _kick(whom: dict[str, str]) -> Response:
        try:
            wanted = msgspec.convert(whom, Wanted)
        except ValueError as wrong:
            return refusal(400, str(wrong))
        kicked = await controls.kick(wanted)
        if not kicked:
            return refusal(404, "there is no such session")
        return Response(msgspec.json.encode({"kicked": kicked}), media_type=_JSON)

    return [
        Route("/api/sessions", listing, methods=["GET"]),
        Route("/api/sessions", kick_user, methods=["DELETE"]),
        Route("/api/sessions/{session}", kick_one, methods=["DELETE"]),
    ]
