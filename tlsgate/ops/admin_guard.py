"""Who may ask what at the admin address, decided before any route is.

| address | reading | changes |
| --- | --- | --- |
| unix socket | who its mode lets in | the same; with the token, where one is configured |
| loopback | everybody on this host | with the token |
| any other | with the token | with the token |

Browsers run strangers' pages on hosts that are trusted: none of those may read or change anything through one.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from enum import Enum, auto

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tlsgate.config.values import is_loopback
from tlsgate.ops.token import Token

_FOR_EVERYBODY = frozenset({"/healthz", "/readyz"})
_READING = frozenset({"GET", "HEAD"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")
_ONCE = ("authorization", "content-type", "host", "origin", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site")
# No page of another origin gets the octets of an answer, whatever it takes them for, and no cache keeps them.
_SEALED = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_HEARD_OUT, _PATIENCE = 16_384, 1.0
_CLOSED = "no change without a token: set admin.token_file, or a unix socket as admin.address"


class Reach(Enum):
    """From where a socket can be reached."""

    OWNER = auto()  # a unix socket
    HOST = auto()
    NETWORK = auto()


def reach_of(listening: socket.socket) -> Reach:
    """The reach of a bound socket."""
    if listening.family == socket.AF_UNIX:
        return Reach.OWNER
    return Reach.HOST if is_loopback(listening.getsockname()[0]) else Reach.NETWORK


def refusal(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that says why not, as JSON."""
    if status == 401:
        headers = {"www-authenticate": "Bearer"}
    return Response(msgspec.json.encode({"error": error}), status, headers, "application/json")


class Guard:
    """Before ``app``. ``token``: gives the one in force."""

    def __init__(self, app: ASGIApp, reach: Reach, token: Callable[[], Token | None]) -> None:
        self._app = app
        self._reach = reach
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a WebSocket, to which a page may come from anywhere
            await send({"type": "websocket.close"})
            return
        send = _sealing(send)
        request = Request(scope)
        refused = _ambiguous(request)
        if refused is None and scope["path"] not in _FOR_EVERYBODY:
            refused = self._page(request) or self._stranger(request)
        if refused is not None:
            await _hear_out(receive)
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _page(self, request: Request) -> Response | None:
        """Refuse what another site's page asks, under its own name or under one that it made lead here."""
        host = request.headers.get("host", "")
        if self._reach is Reach.HOST and not _names_this_host(host):
            return refusal(421, "ask for localhost or a loopback address: this Host is neither")
        origin = request.headers.get("origin")
        ours = () if self._reach is Reach.OWNER else (f"http://{host}".lower(), f"https://{host}".lower())
        if origin is not None and origin.lower() not in ours:
            return refusal(403, "pages of other origins have no business here")
        if not (request.headers.get("sec-fetch-site", "none") in ("none", "same-origin") or _follows_a_link(request)):
            return refusal(403, "pages of other sites have no business here")
        return None

    def _stranger(self, request: Request) -> Response | None:
        """Refuse who shows no token where one is needed."""
        if request.method in _READING and self._reach is not Reach.NETWORK:
            return None
        token = self._token()
        if token is None:
            return None if self._reach is Reach.OWNER else refusal(403, _CLOSED)
        if token.matches(request.headers.get("authorization", "")):
            return None
        return refusal(401, "this needs the token of admin.token_file")


def _ambiguous(request: Request) -> Response | None:
    """Refuse what a proxy before us may have read otherwise, and read no more of the connection (RFC 9112 6.3)."""
    headers = request.headers
    if "transfer-encoding" in headers and ("content-length" in headers or request.scope["http_version"] == "1.0"):
        return refusal(400, "the body's end is told in two ways", {"connection": "close"})
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            return refusal(400, f"{name} is there twice", {"connection": "close"})
    return None


def _follows_a_link(request: Request) -> bool:
    """Whether it is for a page of its own, in no frame of another's (Fetch Metadata)."""
    headers = request.headers
    whole = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return whole and request.method in _READING


def _sealing(send: Send) -> Send:
    """Adds what an answer doesn't say for itself."""

    async def sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in _SEALED if each[0] not in said)]
        await send(message)

    return sealed


async def _hear_out(receive: Receive) -> None:
    """Take a small body before it is refused: a client that still sends it would see a broken connection, no answer."""
    left = _HEARD_OUT
    with trio.move_on_after(_PATIENCE):
        while left > 0:
            message = await receive()
            if not message.get("more_body"):
                return
            left -= len(message.get("body", b"")) + 1


def _names_this_host(host: str) -> bool:
    found = _HOST.fullmatch(host)
    return found is not None and is_loopback(found[1] or found[2])
