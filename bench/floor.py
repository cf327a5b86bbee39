"""The least that an IMAP gateway in Python can cost: what bench/regression.py compares tlsgate with.

    python -m bench.floor PORT BACKEND_PORT CERTIFICATE KEY

One process, trio, pyOpenSSL: a TLS handshake on the non-blocking socket, a greeting, one line, which must be LOGIN and
goes to the backend as it is, its answer back, then octets both ways. No limit, no log, no deadline, and no fault is
told of: nothing to be let near a network. It shares no line with tlsgate, so that what makes the gateway dearer doesn't
make this dearer too.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Generator

import trio
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

_HOST = "127.0.0.1"
_GREETING = memoryview(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n")
_BUFFER = memoryview(bytearray(256 * 1024))
_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_NOT_NOW = -1

_epoll = select.epoll()
_served: dict[int, Callable[[int], None]] = {}  # by descriptor


class Side:
    """One socket of a session. ``backlog``: what it hasn't taken yet; meanwhile neither side is read."""

    __slots__ = ("backlog", "fd", "socket")

    def __init__(self, made: socket.socket) -> None:
        made.setblocking(False)
        self.socket = made
        self.fd = made.fileno()
        self.backlog = memoryview(b"")

    def read(self) -> int:
        """Into the buffer: a count, 0 at the end, or _NOT_NOW. Raises OSError."""
        try:
            return self.socket.recv_into(_BUFFER)
        except BlockingIOError:
            return _NOT_NOW

    def write(self, data: memoryview) -> int:
        """A count. Raises OSError."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0


class TlsSide(Side):
    """The client's."""

    __slots__ = ("_connection", "_ssl")

    def __init__(self, accepted: socket.socket, context: SSL.Context) -> None:
        super().__init__(accepted)
        self._connection = SSL.Connection(context, accepted)
        self._connection.set_accept_state()
        self._ssl = self._connection._ssl

    def handshake(self) -> bool:
        """Whether it is done. Raises OSError."""
        result = lib.SSL_do_handshake(self._ssl)
        return bool(result == 1 or self._without(result) != _NOT_NOW)

    def read(self) -> int:
        count: int = lib.SSL_read(self._ssl, ffi.from_buffer(_BUFFER), len(_BUFFER))
        return count if count > 0 else self._without(count)

    def write(self, data: memoryview) -> int:
        count: int = lib.SSL_write(self._ssl, ffi.from_buffer(data), len(data))
        return count if count > 0 else max(self._without(count), 0)

    def _without(self, result: int) -> int:
        """Why nothing was done: _NOT_NOW, or 0 at the end. Raises OSError."""
        error = lib.SSL_get_error(self._ssl, result)
        if error in (lib.SSL_ERROR_WANT_READ, lib.SSL_ERROR_WANT_WRITE):
            return _NOT_NOW
        lib.ERR_clear_error()
        if error == lib.SSL_ERROR_ZERO_RETURN:
            return 0
        raise OSError("TLS")


class Session:
    """A client's, from its accept to its end."""

    __slots__ = ("_awaited", "_backend", "_client", "_steps")

    def __init__(self, client: TlsSide, backend_port: int) -> None:
        self._client, self._backend = client, Side(socket.socket())
        self._steps = self._login(backend_port)
        self._awaited = -1
        self._log_in(-1)

    def _log_in(self, fd: int) -> None:
        if fd != self._awaited:
            return
        try:
            self._awaited = next(self._steps)
            if self._awaited not in _served:
                _served[self._awaited] = self._log_in
                _epoll.register(self._awaited, _READ)
        except StopIteration:
            _served[self._client.fd] = _served[self._backend.fd] = self._relay
        except (OSError, EOFError, ValueError, IndexError):
            self._end()

    def _login(self, backend_port: int) -> Generator[int, None, None]:
        """Gives the descriptor that has to be readable. Raises OSError, EOFError, ValueError, IndexError."""
        client, backend = self._client, self._backend
        yield client.fd
        while not client.handshake():
            yield client.fd
        client.write(_GREETING)
        line = b""
        while not line.endswith(b"\r\n"):
            line += yield from _received(client)
        if line.split(b" ", 2)[1].upper() != b"LOGIN":
            raise ValueError("not a LOGIN")
        backend.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        backend.socket.connect_ex((_HOST, backend_port))
        yield from _received(backend)
        backend.write(memoryview(line))
        answer = yield from _received(backend)
        client.write(memoryview(answer))

    def _relay(self, fd: int) -> None:
        """Take to the other side what is readable, or to this one its backlog."""
        sides: tuple[Side, Side] = (self._client, self._backend)
        side, other = sides if fd == self._client.fd else reversed(sides)
        try:
            if side.backlog:
                side.backlog = side.backlog[side.write(side.backlog) :]
                if not side.backlog:
                    _epoll.modify(side.fd, _READ)
                    _epoll.modify(other.fd, _WRITE if other.backlog else _READ)
                return
            count = 0 if other.backlog else side.read()
            if count == 0:
                self._end()
            elif count > 0 and (done := other.write(_BUFFER[:count])) < count:
                other.backlog = memoryview(bytes(_BUFFER[done:count]))
                _epoll.modify(other.fd, _WRITE)
                _epoll.modify(side.fd, 0)  # only a hang-up is told of now
        except OSError:
            self._end()

    def _end(self) -> None:
        for side in (self._client, self._backend):
            _served.pop(side.fd, None)
            side.socket.close()


def _received(side: Side) -> Generator[int, None, bytes]:
    """What it sends next. Raises EOFError and OSError."""
    while True:
        yield side.fd
        count = side.read()
        if count == 0:
            raise EOFError
        if count > 0:
            return bytes(_BUFFER[:count])


async def _accept(listening: socket.socket, context: SSL.Context, backend_port: int) -> None:
    while True:
        await trio.lowlevel.wait_readable(listening)
        Session(TlsSide(listening.accept()[0], context), backend_port)


async def _serve(port: int, backend_port: int, certificate: str, key: str) -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(1)  # SSL_MODE_ENABLE_PARTIAL_WRITE
    listening = socket.create_server((_HOST, port), backlog=512)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # for those that it accepts
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_accept, listening, context, backend_port)
        while True:
            await trio.lowlevel.wait_readable(_epoll.fileno())
            for fd, _ in _epoll.poll(0, 256):
                if (served := _served.get(fd)) is not None:
                    served(fd)


if __name__ == "__main__":
    trio.run(_serve, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
