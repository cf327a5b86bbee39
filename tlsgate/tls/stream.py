"""Byte streams over non-blocking sockets, in clear and over TLS.

Each stream has a synchronous core that never blocks (``read_into``, ``write``, ``end_writing``) for the relay pump,
and awaiting forms of it (``receive``, ``send``) for the dialogues. TLS runs on the socket itself: memory BIOs would
cost a copy and half the speed.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod

from OpenSSL import SSL

from tlsgate.tls import octets
from tlsgate.tls.lost import Expired, StreamLost
from tlsgate.tls.octets import WOULD_BLOCK
from tlsgate.tls.waits import READABLE, WRITABLE, Waits, waits

__all__ = ["RECORD", "WOULD_BLOCK", "Expired", "PlainStream", "Stream", "StreamLost", "TlsStream", "tls_reason"]

RECORD = 16384  # RFC 8446 5.1: the most octets in one TLS record
_SHORT_RECORD = RECORD // 2
_READS_PER_TURN = 16
_scratch = memoryview(bytearray(RECORD))


class Stream(ABC):
    """One connected, non-blocking socket. The stream owns it.

    ``at_end``: a read that gave octets has also met the peer's end; the socket will not tell of it again.
    ``end_told``: ``end_writing`` has told the peer. ``end_due``: it found no room; call it again when the socket is
    writable.
    """

    __slots__ = ("_streak", "_waits", "at_end", "end_due", "end_told", "fd", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.fd = connected.fileno()
        self.at_end = False
        self.end_due = self.end_told = False
        self._waits: Waits | None = None
        self._streak = 0  # large reads since we last waited: more is likely to be here

    @abstractmethod
    def read_into(self, buffer: memoryview) -> int:
        """Read what is here: a count of octets, 0 at the peer's end, or WOULD_BLOCK. Raises StreamLost.

        ``buffer`` holds a RECORD or more.
        """

    @abstractmethod
    def write(self, data: memoryview) -> int:
        """Write what can be written now: a count of octets, 0 when none can. Raises StreamLost.

        After a 0 the same data must be given again, before other data.
        """

    @abstractmethod
    def end_writing(self) -> None:
        """Tell the peer that no more will come; reading goes on. Raises nothing: a lost peer needs no telling."""

    def expires(self, when: float) -> None:
        """From ``when`` on (trio's clock; infinity: never) waits on the socket raise Expired."""
        (self._waits or self._awaited()).expire(self.fd, when)

    async def wait_readable(self) -> None:
        """Raises Expired."""
        await (self._waits or self._awaited()).wait(self.fd, READABLE)

    async def wait_writable(self) -> None:
        """Raises Expired."""
        await (self._waits or self._awaited()).wait(self.fd, WRITABLE)

    def _awaited(self) -> Waits:
        self._waits = waits()
        return self._waits

    def close(self) -> None:
        """Close the socket at once; nothing else may be called after it."""
        # Also what a stream before this one has asked for on the same socket.
        (self._waits or self._awaited()).forget(self.fd)
        self.socket.close()

    async def receive(self) -> bytes:
        """What the peer sends next, at most one record; b"" at its end. Raises StreamLost."""
        if self.at_end:
            return b""
        if self._streak in (0, _READS_PER_TURN):
            # In a dialogue nothing is here yet when we ask: no read is wasted. A peer that always has data ready must
            # not keep the other sessions from their turn.
            self._streak = 0
            await (self._waits or self._awaited()).wait(self.fd, READABLE)
        while (count := self.read_into(_scratch)) == WOULD_BLOCK:
            await self.wait_readable()
        self._streak = self._streak + 1 if count >= _SHORT_RECORD else 0
        return bytes(_scratch[:count])

    async def send(self, data: bytes) -> None:
        """Write all of ``data``. Raises StreamLost."""
        rest = memoryview(data)
        while rest:
            count = self.write(rest)
            if count == 0:
                await self.wait_writable()
            rest = rest[count:]


class PlainStream(Stream):
    """In clear."""

    __slots__ = ()

    def read_into(self, buffer: memoryview) -> int:
        try:
            return self.socket.recv_into(buffer)
        except BlockingIOError:
            return WOULD_BLOCK
        except OSError as error:
            raise StreamLost(error.strerror or "connection lost") from None

    def write(self, data: memoryview) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise StreamLost(error.strerror or "connection lost") from None

    def end_writing(self) -> None:
        self.end_told = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the peer is gone: nobody is left to tell
            pass


class TlsStream(Stream):
    """TLS towards a client, the server's side."""

    __slots__ = ("connection",)

    def __init__(self, connected: socket.socket, context: SSL.Context) -> None:
        super().__init__(connected)
        self.connection = SSL.Connection(context, connected)
        self.connection.set_accept_state()

    async def handshake(self) -> None:
        """Raises StreamLost, with OpenSSL's short reason."""
        while True:
            try:
                wanted = octets.handshake(self.connection)
            except SSL.ZeroReturnError:
                raise StreamLost("unexpected eof") from None
            except SSL.Error as error:
                raise StreamLost(tls_reason(error)) from None
            match wanted:
                case octets.WANT_READ:
                    await self.wait_readable()
                case octets.WANT_WRITE:
                    await self.wait_writable()
                case _:
                    return

    def read_into(self, buffer: memoryview) -> int:
        total, size = 0, len(buffer)
        connection = self.connection
        try:
            while size - total >= RECORD:
                count = octets.read(connection, buffer[total:] if total else buffer)
                if count == WOULD_BLOCK:
                    return total or WOULD_BLOCK
                total += count
                if count < _SHORT_RECORD:
                    self.at_end = count == 0
                    break
        except SSL.Error as error:
            if not total:
                raise StreamLost(tls_reason(error)) from None
            self.at_end = True  # what came before the fault is good, and nothing will come after it
        return total

    def write(self, data: memoryview) -> int:
        try:
            count = octets.write(self.connection, data)
        except SSL.Error as error:
            raise StreamLost(tls_reason(error)) from None
        return 0 if count == WOULD_BLOCK else count

    def end_writing(self) -> None:
        # Behind a write that isn't finished OpenSSL sends nothing: what is cut off also looks cut off.
        self.end_due, self.end_told = False, True
        try:
            self.connection.shutdown()
        except SSL.WantWriteError:
            self.end_due, self.end_told = True, False
        except SSL.Error:  # the peer is gone: nobody is left to tell
            pass

    def close(self) -> None:
        if self.socket.fileno() < 0:
            return
        super().close()
        # OpenSSL's memory goes now, and not when the collector finds whoever still refers to this.
        del self.connection


def tls_reason(error: SSL.Error) -> str:
    """OpenSSL's short reason of an error: a text of a bounded set, fit for a log."""
    match error.args:
        case ([(_, _, str(reason)), *_],):
            return reason or "tls error"
        case (int(), str(text)):
            return text.lower()
        case _:
            return "tls error"
