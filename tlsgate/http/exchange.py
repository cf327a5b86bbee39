"""One connection, and what goes over it: a request, and an answer that is bounded."""

from __future__ import annotations

import select
from enum import Enum

import h11

from tlsgate.http.message import BadResponse, Response, TooLarge
from tlsgate.tls.stream import Stream, StreamLost

LARGEST_HEAD = 32 * 1024
"""Octets of an answer's status line and headers together."""
_OVERHEAD = 256 * 1024  # what may come beside a body: chunk sizes, answers before the answer (1xx), trailers
_USABLE = (h11.DONE, h11.DONE)


class Silent(Enum):
    """In place of an answer: the server has closed without a word."""

    SILENT = "silent"


class Connection:
    """To one origin, for one request after another. ``kept_at``: when it was put by, on trio's clock."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        self.kept_at = 0.0

    def close(self) -> None:
        """At once, without TLS's goodbye."""
        self._stream.close()

    def prepare_next(self) -> bool:
        """Make ready for another request. False: the server doesn't want one, or has sent more than its answer."""
        if (self._http.our_state, self._http.their_state) != _USABLE or self._http.trailing_data[0]:
            return False  # what was kept of it would be taken for the next answer
        self._http.start_next_cycle()
        return True

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer: an end, or an answer to no question, makes it useless."""
        poll = select.poll()
        poll.register(self._stream.fd, select.POLLIN)
        return not poll.poll(0)

    async def exchange(self, request: h11.Request, body: bytes, largest: int) -> Response | Silent:
        """Send, and read the answer, of at most ``largest`` octets of body. Raises BadResponse, TooLarge.

        Raises ValueError on headers that can't be sent; it doesn't show them.
        """
        try:
            parts = [self._http.send(request)]
            parts += [self._http.send(h11.Data(body))] if body else []
            parts += [self._http.send(h11.EndOfMessage())]
        except h11.LocalProtocolError:
            raise ValueError("a request that can't be sent") from None
        try:
            await self._stream.send(b"".join(part for part in parts if part))
        except StreamLost:
            return Silent.SILENT
        return await _Answer(self._stream, self._http, largest).read()


class _Answer:
    """The answer to one request, as it comes."""

    def __init__(self, stream: Stream, http: h11.Connection, largest: int) -> None:
        self._stream, self._http, self._largest = stream, http, largest
        self._octets = 0

    async def read(self) -> Response | Silent:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = await self._event()
            match event:
                case h11.Response():
                    head = event
                    # The reader's bound doesn't see a head that has come whole.
                    if sum(len(name) + len(value) + 4 for name, value in event.headers) > LARGEST_HEAD:
                        raise TooLarge(f"headers of more than {LARGEST_HEAD} octets")
                case h11.Data():
                    body += event.data
                    if len(body) > self._largest:
                        raise TooLarge(f"a body of more than {self._largest} octets")
                case h11.EndOfMessage() if head is not None:
                    named = tuple((name.decode("ascii"), value) for name, value in head.headers)
                    return Response(head.status_code, named, bytes(body))
                case Silent():
                    return event
                case h11.InformationalResponse():
                    pass
                case _:
                    raise BadResponse("no answer of HTTP/1")

    async def _event(self) -> object:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if error.error_status_hint == 431:
                    raise TooLarge(f"a line or headers of more than {LARGEST_HEAD} octets") from None
                raise BadResponse("no answer of HTTP/1, or not a whole one") from None
            if event is not h11.NEED_DATA:
                return event
            try:
                data = await self._stream.receive()
            except StreamLost:
                if self._octets:
                    raise BadResponse("the connection broke within the answer") from None
                data = b""
            if not data and not self._octets:
                return Silent.SILENT
            self._octets += len(data)
            if self._octets > self._largest + _OVERHEAD:
                raise TooLarge("far more octets than those of its body")
            self._http.receive_data(data)
