"""An HTTP server that says what a test wants, octet for octet, and remembers what it was asked."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.gate import authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_TLS_HANDSHAKE = b"\x16"
HANGS = b""
"""For an answer: none comes, and the connection stays."""


@dataclass
class Server:
    """``requests``: as they came, with the number of their connection. ``ended``: connections that clients closed.

    ``streams``: of all connections, in their order.
    """

    port: int
    secure: bool
    requests: list[tuple[int, bytes]] = field(default_factory=list)
    streams: list[trio.abc.Stream] = field(default_factory=list)
    ended: int = 0

    @property
    def opened(self) -> int:
        return len(self.streams)

    def url(self, path: str = "/auth", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(*scripts: Sequence[bytes], name: str = "") -> AsyncIterator[Server]:
    """A server whose first connection gets the answers of the first script, and so on; the last is for all others.

    An answer follows a request; behind the last one of a script the next request is read, and the connection closed.
    ``name``: https, with a certificate for it.
    """
    context: ssl.SSLContext | None = None
    if name:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority().issue_cert(name).configure_cert(context)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(listener.socket.getsockname()[1], secure=bool(name))

    async def connection(stream: trio.SocketStream) -> None:
        number = server.opened
        script = scripts[min(number, len(scripts) - 1)]
        spoken: trio.abc.Stream
        spoken = stream if context is None else trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        server.streams.append(spoken)
        try:
            await _play(server, number, script, spoken)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            server.ended += 1
        finally:
            await trio.aclose_forcefully(spoken)

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, connection, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def _play(server: Server, number: int, script: Sequence[bytes], stream: trio.abc.Stream) -> None:
    for answer in [*script, None]:
        request = await _read(stream)
        if not request:
            server.ended += 1
            return
        server.requests.append((number, request))
        if answer is None:
            return
        if answer == HANGS:
            while await stream.receive_some():
                pass
            server.ended += 1
            return
        await stream.send_all(answer)
        if b"HTTP/1.0" in answer:  # says the end of its answer by the end of the connection
            return


async def _read(stream: trio.abc.Stream) -> bytes:
    """One request, or a hello of TLS, or nothing at the client's end."""
    got = b""
    while b"\r\n\r\n" not in got:
        data = await stream.receive_some(65536)
        if not data:
            return b""
        got += data
        if got.startswith(_TLS_HANDSHAKE):
            return got
    head, _, body = got.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        data = await stream.receive_some(65536)
        if not data:
            return b""
        body += data
        got += data
    return got
