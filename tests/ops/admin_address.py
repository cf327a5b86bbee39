"""An admin address on a real socket, with real bans behind it, and requests of any shape to it."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from tlsgate.admission.bans import Ban, Bans
from tlsgate.config import Address, HostPort, LogFormat, LogLevel
from tlsgate.controls import Controls, Gateway
from tlsgate.ops.admin import serve_admin
from tlsgate.ops.client_report import Noted
from tlsgate.ops.gateway_view import GatewayView, ReloadView
from tlsgate.ops.health import Health
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.pool_view import PoolView
from tlsgate.ops.session_view import Page, Wanted
from tlsgate.ops.token import Token
from tlsgate.sockets import bind

TOKEN = Token("a-token-of-24-characters")
BEARER = {"authorization": f"Bearer {TOKEN.secret}"}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Told:
    """What was told about bans."""

    banned_networks: list[str] = field(default_factory=list)
    unbanned_networks: list[tuple[str, str]] = field(default_factory=list)

    def banned(self, ban: Ban) -> None:
        self.banned_networks.append(ban.network)

    def unbanned(self, network: str, reason: str) -> None:
        self.unbanned_networks.append((network, reason))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class _Connection(http.client.HTTPConnection):
    """To what a bound socket listens on, wherever that is."""

    def __init__(self, family: int, place: Any) -> None:
        super().__init__("localhost", timeout=10)
        self._family, self._place = family, place

    def connect(self) -> None:
        self.sock = socket.socket(self._family)
        self.sock.settimeout(10)
        self.sock.connect(self._place)


@dataclass
class Admin:
    """``token``: the one in force, which a test may change as a reload does."""

    family: int
    place: Any
    metrics: Metrics
    health: Health
    bans: Bans
    told: Told
    token: Token | None

    @property
    def port(self) -> int:
        return int(self.place[1])

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request with these headers; its Host is localhost if they have none."""
        return await asked(self.family, self.place, method, path, headers, body)


async def asked(
    family: int,
    place: Any,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """The answer to one request to what listens at ``place``."""

    def exchange() -> Answer:
        connection = _Connection(family, place)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    return await trio.to_thread.run_sync(exchange, limiter=trio.CapacityLimiter(1))


class Nowhere:
    """No gateway: for what is answered without one."""

    async def report(self) -> None:
        """There are no metrics elsewhere."""

    async def state(self) -> GatewayView:
        raise NotImplementedError

    async def pools(self) -> list[PoolView]:
        raise NotImplementedError

    async def clients(self, most: int) -> list[Noted]:
        raise NotImplementedError

    async def sessions(self, wanted: Wanted) -> Page:
        raise NotImplementedError

    async def kick(self, wanted: Wanted) -> int:
        raise NotImplementedError

    async def drain(self) -> bool:
        raise NotImplementedError

    async def reload(self) -> ReloadView | None:
        raise NotImplementedError


LOOPBACK = HostPort("127.0.0.1", 0)


@asynccontextmanager
async def serving(
    address: Address = LOOPBACK, token: Token | None = None, gateway: Gateway | None = None
) -> AsyncIterator[Admin]:
    """Serve one until the block ends. ``gateway``: what it tells of."""
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    told = Told()
    listening = bind(address)
    admin = Admin(listening.family, listening.getsockname(), Metrics(log), Health(), Bans(told), told, token)
    controls = Controls(admin.bans, lambda: admin.token, gateway or Nowhere())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_admin, listening, admin.metrics.registry, admin.health, controls, log)
            yield admin
            nursery.cancel_scope.cancel()
    finally:
        log.close()
