"""Connections to backends: TCP or unix sockets, in clear or over TLS with the name checked.

TLS here is the standard library's: it checks host names itself, which pyOpenSSL leaves to its callers.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import ssl
from contextlib import suppress

import trio

from tlsgate.backends.faults import BackendFault, Reason
from tlsgate.backends.resolve import SYSTEM, Names, numeric
from tlsgate.config import Address, Backend, BackendTlsVersion, HostPort
from tlsgate.tls.stream import RECORD, WOULD_BLOCK, Expired, PlainStream, Stream, StreamLost

_VERSIONS = {
    BackendTlsVersion.TLS1_0: ssl.TLSVersion.TLSv1,
    BackendTlsVersion.TLS1_1: ssl.TLSVersion.TLSv1_1,
    BackendTlsVersion.TLS1_2: ssl.TLSVersion.TLSv1_2,
    BackendTlsVersion.TLS1_3: ssl.TLSVersion.TLSv1_3,
}
_OUR_SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)
_OLD = (BackendTlsVersion.TLS1_0, BackendTlsVersion.TLS1_1)


class BackendTlsStream(Stream):
    """TLS towards a backend, the client's side."""

    __slots__ = ("_tls",)

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, name: str) -> None:
        """Takes the socket over, or raises StreamLost: the connection may be gone already."""
        try:
            connected.getpeername()  # wrap_socket leaves a descriptor open when it finds the peer gone
            self._tls = context.wrap_socket(connected, server_hostname=name, do_handshake_on_connect=False)
        except OSError as error:
            raise StreamLost(_reason(error)) from None
        super().__init__(self._tls)

    async def handshake(self) -> None:
        """Raises StreamLost, also when the certificate isn't for the name."""
        while True:
            try:
                return self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.wait_readable()
            except ssl.SSLWantWriteError:
                await self.wait_writable()
            except ssl.SSLCertVerificationError as error:
                raise StreamLost(f"certificate refused: {error.verify_message}") from None
            except OSError as error:
                raise StreamLost(_reason(error)) from None

    def read_into(self, buffer: memoryview) -> int:
        total, size = 0, len(buffer)
        try:
            while size - total >= RECORD:
                count = self._tls.recv_into(buffer[total:], RECORD)
                total += count
                if count < RECORD // 2:
                    self.at_end = count == 0
                    break
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return total or WOULD_BLOCK
        except OSError as error:
            if not total and not isinstance(error, ssl.SSLEOFError):
                raise StreamLost(_reason(error)) from None
            self.at_end = True  # what came before it is good, and nothing will come after it
        return total

    def write(self, data: memoryview) -> int:
        try:
            return self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise StreamLost(_reason(error)) from None

    def end_writing(self) -> None:
        # SSLSocket.shutdown would throw away what is still to be read; the end of TCP's stream says it too.
        with suppress(OSError):
            socket.socket.shutdown(self._tls, socket.SHUT_WR)


def client_context(backend: Backend) -> ssl.SSLContext:
    """The context for a backend's TLS. Raises OSError when its CA file can't be read. Reads files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if backend.ca is not None:
        context.load_verify_locations(backend.ca)
    else:
        context.load_default_certs()
    context.minimum_version = _VERSIONS[backend.minimum_version]
    if backend.minimum_version in _OLD:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if not backend.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def connect(address: Address, deadline: float = math.inf, names: Names = SYSTEM) -> PlainStream:
    """Begin a connection; it may still be under way: the first read or ``connected`` tells.

    Of a name's addresses the first is taken that can be connected to, else the last. The stream expires at
    ``deadline``. ``names``: who knows addresses. Raises BackendFault, Expired.
    """
    try:
        if not isinstance(address, HostPort):
            stream = _begin(socket.AF_UNIX, str(address.path))
        elif (target := numeric(address)) is not None:
            stream = _begin(*target)
        else:
            with trio.CancelScope(deadline=deadline) as scope:
                stream = await _connect_by_name(address, names)
            if scope.cancelled_caught:
                raise Expired
    except OSError as error:
        ours = error.errno in _OUR_SHORTAGE
        reason = Reason.CAPACITY if ours else Reason.CONNECT
        raise BackendFault(reason, error.strerror or str(error), down=not ours) from None
    stream.expires(deadline)
    return stream


async def connected(stream: Stream) -> None:
    """Wait until the connection stands. Raises BackendFault, Expired."""
    await stream.wait_writable()
    if code := stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise BackendFault(Reason.CONNECT, os.strerror(code))


async def _connect_by_name(address: HostPort, names: Names) -> PlainStream:
    *others, last = await names.resolve(address)
    for target in others:
        stream = _begin(*target)
        if await _stands(stream):
            return stream
    return _begin(*last)


async def _stands(stream: PlainStream) -> bool:
    """Whether a connection that was begun comes to stand; it is closed otherwise."""
    stands = False
    try:
        await connected(stream)
        stands = True
    except BackendFault:
        pass
    finally:
        if not stands:
            stream.close()
    return stands


def _begin(family: int, target: tuple[str, int] | str) -> PlainStream:
    begun = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family != socket.AF_UNIX:
            begun.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = begun.connect_ex(target)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except OSError:
        begun.close()
        raise
    return PlainStream(begun)


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else error.strerror or "connection lost"
