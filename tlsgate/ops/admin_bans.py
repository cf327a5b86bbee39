"""The bans at the admin address.

GET /api/bans lists those in force; POST there makes one; DELETE /api/bans/PREFIX (or ?network=PREFIX) lifts it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Protocol

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tlsgate.ops.admin_guard import refusal
from tlsgate.ops.admission_trace import Ban

_LARGEST_BODY = 4096
_BODY_TIMEOUT = 10.0
_TEN_YEARS = 10 * 366 * 86_400
_JSON = "application/json"


class BanControls(Protocol):
    """What the routes call, on the trio loop. Networks are texts; ValueError says what is wrong with one."""

    def bans(self) -> Sequence[Ban]: ...
    def ban(self, network: str, seconds: float, reason: str) -> Ban: ...
    def unban(self, network: str) -> bool: ...


class Shown(msgspec.Struct, frozen=True):
    """A ban as the API shows it. ``since``, ``until``: seconds of the epoch."""

    network: str
    since: float
    until: float
    seconds_left: float
    count: int
    reason: str


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ban as the API takes it."""

    network: Annotated[str, msgspec.Meta(max_length=64)]
    seconds: Annotated[float, msgspec.Meta(ge=1, le=_TEN_YEARS)]
    reason: Annotated[str, msgspec.Meta(max_length=200)] = "admin"


def ban_routes(controls: BanControls) -> list[Route]:
    """What is served below /api/bans."""
    # A thread of its own: name look-ups that hang take all of trio's default ones.
    encoding = trio.CapacityLimiter(1)

    async def listing(_request: Request) -> Response:
        bans = controls.bans()
        return Response(await trio.to_thread.run_sync(_listed, bans, limiter=encoding), media_type=_JSON)

    async def make(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            return refusal(415, f"send {_JSON}")
        body = await _body(request)
        if isinstance(body, Response):
            return body
        try:
            wanted = msgspec.json.decode(body, type=Wanted)
            if not wanted.reason.isprintable():
                raise ValueError("the reason holds a control character")
            ban = controls.ban(wanted.network, wanted.seconds, wanted.reason)
        except ValueError as wrong:
            return refusal(400, str(wrong))
        return Response(msgspec.json.encode(_shown(ban, time.time())), 201, media_type=_JSON)

    async def lift(request: Request) -> Response:
        network = request.path_params.get("network") or request.query_params.get("network", "")
        try:
            lifted = controls.unban(network)
        except ValueError as wrong:
            return refusal(400, str(wrong))
        return Response(status_code=204) if lifted else refusal(404, "there is no ban of just this network")

    return [
        Route("/api/bans", listing, methods=["GET"]),
        Route("/api/bans", make, methods=["POST"]),
        Route("/api/bans", lift, methods=["DELETE"]),
        Route("/api/bans/{network:path}", lift, methods=["DELETE"]),
    ]


async def _body(request: Request) -> bytes | Response:
    """The request's body, or the answer to one that is too large or too slow."""
    body = bytearray()
    with trio.move_on_after(_BODY_TIMEOUT):
        try:
            async with aclosing(request.stream()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > _LARGEST_BODY:
                        return refusal(413, f"send {_LARGEST_BODY} octets at most")
        except ClientDisconnect:
            return refusal(400, "nobody waits for this answer")
        return bytes(body)
    return refusal(408, "the body took too long")


def _listed(bans: Sequence[Ban]) -> bytes:
    now = time.time()
    return msgspec.json.encode([_shown(ban, now) for ban in bans])


def _shown(ban: Ban, now: float) -> Shown:
    since, until, left = (round(each, 3) for each in (ban.since, ban.until, max(0.0, ban.until - now)))
    return Shown(ban.network, since, until, left, ban.count, ban.reason)
