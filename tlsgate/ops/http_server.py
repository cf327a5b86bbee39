"""HTTP/1.1 on a bound socket: hypercorn's connections, each of which fails alone.

hypercorn's own server ends as a whole by a fault in one connection (a path of HTTP/2 that isn't ASCII is enough), and
when it is cancelled waits for clients that don't read.
"""

from __future__ import annotations

import logging
import socket
from typing import cast

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from starlette.types import ASGIApp

MOST_CONNECTIONS = 100
_LONGEST_HEADERS = 16384
_LONGEST_ANSWER = 30.0


class _Http1(H11Protocol):
    """Without a way out into HTTP/2: nobody here needs it, and it has ways of its own to keep a server busy."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """An Upgrade may be ignored (RFC 9110 7.8), and a preface is a request for what isn't there."""


class _Connection(TCPServer):
    async def _read_data(self) -> None:
        either = self.protocol
        either.protocol = _Http1(
            either.app,
            either.config,
            either.context,
            either.task_group,
            either.state,
            either.ssl,
            either.client,
            either.server,
            either.send,
        )
        await super()._read_data()
        # Who has hung up would otherwise be waited for as long as who is about to ask again.
        await self.context.terminated.set()

    async def protocol_send(self, event: Event) -> None:
        """As hypercorn's, which waits for who doesn't read as long as he likes."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            with trio.move_on_after(_LONGEST_ANSWER) as sending:
                sending.shield = True
                try:
                    await self.stream.send_all(event.data)
                    return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
        await self.stream.aclose()
        await self.protocol.handle(Closed())


class _Server:
    """``log``: where hypercorn tells of an application's faults."""

    def __init__(self, app: ASGIApp, log: logging.Logger) -> None:
        self._app = ASGIWrapper(cast(ASGIFramework, app))
        self._log = log
        self._settings = _settings(log)
        self._streams: set[trio.SocketStream] = set()

    async def connection(self, stream: trio.SocketStream) -> None:
        """Serve one to its end."""
        if len(self._streams) >= MOST_CONNECTIONS:
            await stream.aclose()
            return
        self._streams.add(stream)
        try:
            # Annotated for streams of TLS only; takes both.
            await _Connection(self._app, self._settings, WorkerContext(None), ConnectionState({}), stream)  # type: ignore[arg-type]
        except Exception as fault:  # noqa: BLE001 - the other connections go on
            self._log.warning("a connection ended by a fault: %s", kind(fault))
        finally:
            self._streams.discard(stream)
            stream.socket.close()

    def end(self) -> None:
        """End all connections: hypercorn shields what it sends from being cancelled."""
        for stream in self._streams:
            stream.socket.close()


async def serve_http(listening: socket.socket, app: ASGIApp, log: logging.Logger) -> None:
    """Serve until cancelled; owns the socket."""
    server = _Server(app, log)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.connection, [listener])
        try:
            await trio.sleep_forever()
        finally:
            server.end()


def _settings(log: logging.Logger) -> Config:
    settings = Config()
    settings.accesslog = None
    settings.errorlog = log
    settings.include_server_header = False
    settings.h11_max_incomplete_size = _LONGEST_HEADERS
    settings.keep_alive_timeout = 15
    settings.read_timeout = 10
    return settings


def kind(fault: BaseException) -> str:
    """The name of its type; of a group, that of the first in it."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return type(fault).__name__
