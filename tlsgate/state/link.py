"""One connection to a Valkey server, by coredis, which is dear to import and an extra (``tlsgate[valkey]``).

A connection of coredis without its client: nothing is ever repeated by the library, so nothing is done twice.
"""

from __future__ import annotations

import logging
import socket
import ssl
from hashlib import sha1
from importlib import import_module
from pathlib import Path

import anyio
import trio
from anyio.abc import ByteStream
from coredis.connection import BaseConnection, TCPLocation
from coredis.exceptions import (
    AuthenticationFailureError,
    AuthenticationRequiredError,
    AuthorizationError,
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
)

from tlsgate.state.server import Server

_CONNECT = 1.0  # seconds, with the name's look-up and the handshakes
_ROUND_TRIP = 0.5
_SCRIPT = Path(__file__).with_name("shared.lua").read_bytes()
_SHA = sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()
# Else it would be imported at the first connection, by a user who may not be allowed to read our files.
import_module("anyio._backends._trio")
# It logs each failed attempt with a traceback; what went wrong is told by LinkFault.
logging.getLogger("coredis").setLevel(logging.CRITICAL)

_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (AuthenticationFailureError, "wrong user name or password"),
    (AuthenticationRequiredError, "a password is needed"),
    (AuthorizationError, "the user may not do that"),
    (BusyLoadingError, "the server is loading its data"),
    (ReadOnlyError, "the server is a read-only replica"),
    (ResponseError, "the server refused"),
    ((trio.TooSlowError, TimeoutError), "no answer in time"),
    (ssl.SSLError, "TLS failed"),
    (socket.gaierror, "the name has no address"),
)


class LinkFault(Exception):
    """Why the server can't be used now. The text is ours: it holds nothing of the URL or of what the server said."""


class Link:
    """A connection that stands. After a LinkFault it is of no use: a late answer would be taken for another's."""

    def __init__(self, connection: BaseConnection) -> None:
        self._connection = connection

    async def evaluate(self, request: bytes) -> list[object]:
        """Run the script once; its answer is a list. Raises LinkFault, also half a second later."""
        try:
            with trio.fail_after(_ROUND_TRIP):
                try:
                    answer = await self._connection.create_request(b"EVALSHA", _SHA, 0, request)
                except NoScriptError:  # nothing was run
                    answer = await self._connection.create_request(b"EVAL", _SCRIPT, 0, request)
        except Exception as error:  # noqa: BLE001 - a lost connection gives whatever ended it
            raise LinkFault(_reason(error)) from None
        if not isinstance(answer, list):
            raise LinkFault("an answer makes no sense")
        return list(answer)

    def close(self) -> None:
        """Break it off."""
        self._connection.invalidate()


async def connect(server: Server, nursery: trio.Nursery, looking_up: trio.CapacityLimiter) -> Link:
    """A new link, whose tasks run in ``nursery`` and end without a word. Raises LinkFault within a second.

    ``looking_up``: for threads that look up the name.
    """
    try:
        with trio.fail_after(_CONNECT):
            connection = _Connection(server, await _open(server, looking_up))
            if (error := await nursery.start(_keep, connection)) is not None:
                raise error
    except Exception as error:  # noqa: BLE001 - as above
        raise LinkFault(_reason(error)) from None
    return Link(connection)


class _Connection(BaseConnection):
    """Over a stream that stands: one of coredis' own leaves its buffers open when it can't connect."""

    def __init__(self, server: Server, stream: ByteStream) -> None:
        username = server.username or ("default" if server.password else None)
        super().__init__(
            TCPLocation(server.host, server.port), username=username, password=server.password, db=server.database
        )
        self._opened = stream

    def describe(self) -> str:
        return str(self.location)

    async def _connect(self) -> ByteStream:
        return self._opened


async def _open(server: Server, looking_up: trio.CapacityLimiter) -> ByteStream:
    found = await trio.to_thread.run_sync(
        lambda: socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM),
        abandon_on_cancel=True,
        limiter=looking_up,
    )
    last: Exception = OSError("no address")
    for *_, address in found:
        try:
            if not server.tls:
                return await anyio.connect_tcp(str(address[0]), server.port)
            return await anyio.connect_tcp(
                str(address[0]),
                server.port,
                ssl_context=ssl.create_default_context(),
                tls_hostname=server.host,
                tls_standard_compatible=False,
            )
        except OSError as error:
            last = error
    raise last


async def _keep(
    connection: _Connection, task_status: trio.TaskStatus[Exception | None] = trio.TASK_STATUS_IGNORED
) -> None:
    try:
        await connection.run(task_status=task_status)
    except Exception as error:  # noqa: BLE001 - only until it has started, see there
        task_status.started(error)


def _reason(error: BaseException) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind) or isinstance(error.__cause__, kind):
            return reason
    return "no connection"
