"""Requests, each within its time, over connections that are kept for the next one.

No redirects, no proxies, no cookies: a request goes to the server that the config names, and nowhere else.
"""

from __future__ import annotations

import ssl
from collections import defaultdict

import h11
import trio

from tlsgate.http.connect import connect
from tlsgate.http.exchange import Connection, Silent
from tlsgate.http.message import Headers, HttpError, Origin, Place, Response, TimedOut, Unreachable, place

MOST_KEPT = 16
"""Connections to one origin that wait for a next request."""
MOST_AT_ONCE = 128
"""Requests to one origin that are under way; others wait, within their own time."""
LONGEST_IDLE = 10.0
"""Seconds that a connection is kept. Servers wait longer, most of them; it is closed when the next request comes."""


class _Pool:
    """The connections to one origin."""

    def __init__(self) -> None:
        self.kept: list[Connection] = []
        self.at_once = trio.Semaphore(MOST_AT_ONCE)

    def take(self) -> Connection | None:
        """The one that was used last, so that the others can grow old."""
        oldest = trio.current_time() - LONGEST_IDLE
        while self.kept and self.kept[0].kept_at < oldest:
            self.kept.pop(0).close()
        while self.kept:
            connection = self.kept.pop()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def put_by(self, connection: Connection) -> bool:
        """Keep it for the next request. False: it is of no use, or there are enough."""
        if len(self.kept) >= MOST_KEPT or not connection.prepare_next():
            return False
        connection.kept_at = trio.current_time()
        self.kept.append(connection)
        return True


class Client:
    """``context``: for https; without one, only http URLs can be asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._pools: defaultdict[Origin, _Pool] = defaultdict(_Pool)
        self._keeps = True

    def close(self) -> None:
        """Close the connections that nobody uses, and keep none from now on: who still asks has one of its own."""
        self._keeps = False
        for pool in self._pools.values():
            while pool.kept:
                pool.kept.pop().close()

    async def request(
        self, method: str, url: str, headers: Headers, body: bytes, *, largest: int, deadline: float
    ) -> Response:
        """Ask, by ``deadline`` on trio's clock. The answer's body has at most ``largest`` octets.

        Host, Content-Length and a password from the URL are added to the ``headers``. A request that a kept connection
        takes to its grave is sent once more: the server had closed it, and has most likely not looked at it.
        Raises HttpError, and ValueError on what can't be sent.
        """
        where = place(url)
        if where.origin.secure and self._context is None:
            raise ValueError("https without a context")
        request = _request(method, where, headers, body)
        with trio.CancelScope(deadline=deadline):
            try:
                async with self._pools[where.origin].at_once:
                    return await self._ask(where.origin, request, body, largest)
            except HttpError as error:
                # Its own words only: what it was raised from may quote the server.
                raise type(error)(f"{where.origin}: {error}") from None
        raise TimedOut(f"{where.origin}: no answer in time")

    async def _ask(self, origin: Origin, request: h11.Request, body: bytes, largest: int) -> Response:
        kept = self._pools[origin].take()
        if kept is not None:
            answer = await self._exchange(origin, kept, request, body, largest)
            if not isinstance(answer, Silent):
                return answer
        new = Connection(await connect(origin, self._context if origin.secure else None))
        answer = await self._exchange(origin, new, request, body, largest)
        if isinstance(answer, Silent):
            raise Unreachable("closed without an answer")
        return answer

    async def _exchange(
        self, origin: Origin, connection: Connection, request: h11.Request, body: bytes, largest: int
    ) -> Response | Silent:
        answer: Response | Silent = Silent.SILENT
        kept = False
        try:
            answer = await connection.exchange(request, body, largest)
            kept = self._keeps and isinstance(answer, Response) and self._pools[origin].put_by(connection)
        finally:
            if not kept:
                connection.close()
        return answer


def _request(method: str, where: Place, headers: Headers, body: bytes) -> h11.Request:
    """Raises ValueError, which shows nothing of it."""
    sent: list[tuple[bytes, bytes]] = [(b"Host", where.host.encode())]
    if where.authorization is not None:
        sent.append((b"Authorization", where.authorization))
    if body or method not in ("GET", "HEAD"):
        sent.append((b"Content-Length", b"%d" % len(body)))
    sent += [(name.encode(), value) for name, value in headers]
    try:
        return h11.Request(method=method, target=where.target, headers=sent)
    except h11.LocalProtocolError:
        raise ValueError("a request that can't be sent") from None
