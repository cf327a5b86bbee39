"""Both ends of a TLS connection on loopback. The client is pyOpenSSL's: it does what the standard library's can't."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import trio
from cryptography import x509
from OpenSSL import SSL

from tlsgate.config import Protocol
from tlsgate.tls.accept import accept_tls
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.stream import StreamLost, TlsStream

Got = TypeVar("Got")


def connected_pair(buffers: int | None = None) -> tuple[socket.socket, socket.socket]:
    """A client's and a server's end of one TCP connection, non-blocking; ``buffers``: octets in each kernel buffer."""
    with socket.socket() as listener, listener:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF) if buffers else ():
            listener.setsockopt(socket.SOL_SOCKET, option, buffers or 0)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.socket()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF) if buffers else ():
            client.setsockopt(socket.SOL_SOCKET, option, buffers or 0)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    for end in (client, server):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, server


class Visitor:
    """What a client brings to each of its connections. ``verified`` counts full handshakes: a resumed one shows no
    certificate."""

    def __init__(
        self,
        *,
        versions: tuple[int, int] = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION),
        tls12: bytes | None = None,
        tls13: bytes | None = None,
        alpn: Sequence[bytes] = (),
    ) -> None:
        self.verified = 0
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.context.set_min_proto_version(versions[0])
        self.context.set_max_proto_version(versions[1])
        if tls12 is not None:
            self.context.set_cipher_list(tls12)
        if tls13 is not None:
            self.context.set_tls13_ciphersuites(tls13)
        if alpn:
            self.context.set_alpn_protos(list(alpn))
        self.context.set_verify(SSL.VERIFY_PEER, self._verify)

    def _verify(self, _connection: object, _certificate: object, _error: int, depth: int, _ok: int) -> bool:
        self.verified += depth == 0
        return True


class Peer:
    """The far end of a TLS connection, over a socket or, without one, over memory for tests that place each octet."""

    def __init__(self, connected: socket.socket | None, connection: SSL.Connection) -> None:
        self.socket = connected
        self.connection = connection

    async def handshake(self) -> None:
        """Raises SSL.Error."""
        await self._do(self.connection.do_handshake)

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[await self._do(partial(self.connection.send, rest)) :]

    async def receive(self, most: int = 65536) -> bytes:
        """b"" when the other side has sent close_notify."""
        try:
            return await self._do(lambda: self.connection.recv(most))
        except SSL.ZeroReturnError:
            return b""

    async def end(self) -> None:
        """Send close_notify; TCP's stream stays open."""
        await self._do(self.connection.shutdown)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()

    async def _do(self, call: Callable[[], Got]) -> Got:
        assert self.socket is not None
        while True:
            try:
                return call()
            except SSL.WantReadError:
                await trio.lowlevel.wait_readable(self.socket)
            except SSL.WantWriteError:
                await trio.lowlevel.wait_writable(self.socket)


class Client(Peer):
    """A client's end."""

    def __init__(
        self,
        connected: socket.socket | None,
        visitor: Visitor,
        name: bytes | None = None,
        session: SSL.Session | None = None,
    ) -> None:
        super().__init__(connected, SSL.Connection(visitor.context, connected))
        self.connection.set_connect_state()
        if name is not None:
            self.connection.set_tlsext_host_name(name)
        if session is not None:
            self.connection.set_session(session)

    def leaf(self) -> x509.Certificate:
        """The certificate that the server showed."""
        shown = self.connection.get_peer_certificate(as_cryptography=True)
        assert shown is not None
        return shown


async def accept(
    connected: socket.socket, contexts: ServerContexts, protocol: Protocol = Protocol.IMAP
) -> TlsStream | StreamLost:
    """The server's side of a handshake: what ``accept_tls`` gave or raised; then the socket is closed."""
    try:
        return await accept_tls(connected, contexts, protocol)
    except StreamLost as lost:
        connected.close()
        return lost


class Meeting:
    """A client's handshake with ``accept_tls``, both to their ends. One of ``stream`` and ``lost`` is there."""

    def __init__(self, client: Client, server: TlsStream | StreamLost, client_error: SSL.Error | None) -> None:
        self.client = client
        self._server = server
        self.client_error = client_error

    @property
    def stream(self) -> TlsStream:
        assert isinstance(self._server, TlsStream), self._server
        assert self.client_error is None, self.client_error
        return self._server

    @property
    def lost(self) -> str:
        """Why the server's side failed."""
        assert isinstance(self._server, StreamLost), "the handshake was finished"
        return self._server.reason

    @property
    def alert(self) -> str:
        """OpenSSL's name for the alert that the client got."""
        assert self.client_error is not None, "the client got no alert"
        assert self.client_error.args, "the client lost the connection without an alert"
        return str(self.client_error.args[0][0][2])

    def close(self) -> None:
        if isinstance(self._server, TlsStream):
            self._server.close()
        self.client.close()


async def meet(
    contexts: ServerContexts,
    visitor: Visitor,
    name: bytes | None = None,
    *,
    session: SSL.Session | None = None,
    protocol: Protocol = Protocol.IMAP,
) -> Meeting:
    """A handshake over loopback."""
    client_end, server_end = connected_pair()
    client = Client(client_end, visitor, name, session)
    outcome: list[TlsStream | StreamLost] = []
    failed: SSL.Error | None = None

    async def serve() -> None:
        outcome.append(await accept(server_end, contexts, protocol))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                await client.handshake()
            except SSL.Error as error:
                failed = error
    return Meeting(client, outcome[0], failed)


def hello_of(visitor: Visitor, name: bytes | None = None) -> tuple[Client, bytes]:
    """A client over memory and the ClientHello that it begins with."""
    client = Client(None, visitor, name)
    try:
        client.connection.do_handshake()
    except SSL.WantReadError:
        pass
    return client, client.connection.bio_read(65536)


def in_records(hello: bytes, size: int) -> bytes:
    """The same handshake message in records of ``size`` octets each (RFC 8446 5.1)."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2) + piece for piece in pieces)
