"""Both far ends of a relayed session, and the streams that the pump gets: in clear or over TLS, either way round."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

import trio
import trustme
from OpenSSL import SSL

from tests.tls.peer import Client, Peer, Visitor, connected_pair
from tlsgate.backends.stream import BackendTlsStream
from tlsgate.config import Protocol, Tls
from tlsgate.relay import Pump, Relayed
from tlsgate.tls.accept import accept_tls
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.stream import PlainStream, Stream

_IGNORE_UNEXPECTED_EOF = 1 << 7
Buffers = tuple[int | None, int | None]
"""Octets in each kernel buffer of the client's connection and of the backend's; None: the kernel's choice."""
RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER with no time: a close sends RST."""


class Kind(Enum):
    """What a leg of a session speaks."""

    PLAIN = auto()
    TLS = auto()
    BACKEND_TLS = auto()


class End:
    """A far end, whatever it speaks."""

    def __init__(self, connected: socket.socket, peer: Peer | None = None) -> None:
        self.socket = connected
        self._peer = peer

    async def send(self, data: bytes) -> None:
        if self._peer is not None:
            await self._peer.send(data)
            return
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.socket)

    async def receive(self, most: int = 65536) -> bytes:
        """b"" at the end."""
        if self._peer is not None:
            return await self._peer.receive(most)
        while True:
            try:
                return self.socket.recv(most)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.socket)

    async def receive_exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            data = await self.receive(count - len(received))
            assert data, f"the end after {len(received)} octets of {count}"
            received += data
        return bytes(received)

    async def receive_all(self) -> bytes:
        received = bytearray()
        while data := await self.receive():
            received += data
        return bytes(received)

    async def end(self, *, whole: bool = True) -> None:
        """No more will be sent; more can be received. ``whole``: also TCP's stream ends, else only that of TLS."""
        if self._peer is not None:
            await self._peer.end()
        if self._peer is None or whole:
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()


@dataclass
class Session:
    """A relayed session as seen from outside. ``ends``: what ``on_end`` was called with."""

    client: End
    backend: End
    streams: tuple[Stream, Stream]
    ends: list[Relayed] = field(default_factory=list)
    over: trio.Event = field(default_factory=trio.Event)

    def ended(self, relayed: Relayed) -> None:
        assert all(stream.socket.fileno() < 0 for stream in self.streams), "on_end before the sockets were closed"
        self.ends.append(relayed)
        self.over.set()

    async def outcome(self) -> Relayed:
        """How the session ended. Fails if it doesn't within ten seconds, or ended twice."""
        with trio.fail_after(10):
            await self.over.wait()
        assert len(self.ends) == 1
        return self.ends[0]

    def close(self) -> None:
        self.client.close()
        self.backend.close()
        for stream in self.streams:
            stream.close()


class Relay:
    """A pump, and sessions for it."""

    def __init__(self, directory: Path) -> None:
        self.pump = Pump()
        self._sessions: list[Session] = []
        issued = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
        certificate, key = directory / "relay.pem", directory / "relay.key"
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        self._contexts = ServerContexts(Tls(certificate=certificate, private_key=key), [Protocol.IMAP])
        self._backend_context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._backend_context.use_certificate_chain_file(certificate)
        self._backend_context.use_privatekey_file(key)
        # The stream towards backends ends with TCP's end alone.
        self._backend_context.set_options(_IGNORE_UNEXPECTED_EOF)

    async def session(
        self,
        client: Kind = Kind.TLS,
        backend: Kind = Kind.PLAIN,
        *,
        buffers: Buffers = (None, None),
    ) -> Session:
        """Two connections with their handshakes done, not yet with the pump."""
        near, front = await self._leg(client, buffers[0])
        far, back = await self._leg(backend, buffers[1])
        session = Session(near, far, (front, back))
        self._sessions.append(session)
        return session

    def add(
        self,
        session: Session,
        *,
        to_backend: bytes = b"",
        to_client: bytes = b"",
        idle_timeout: float = 1800,
        on_end: Callable[[Relayed], None] | None = None,
        farewell: bytes = b"",
    ) -> None:
        self.pump.add(
            *session.streams,
            to_backend=to_backend,
            to_client=to_client,
            idle_timeout=idle_timeout,
            on_end=on_end or session.ended,
            about=session,
            farewell=farewell,
        )

    async def relayed(
        self,
        client: Kind = Kind.TLS,
        backend: Kind = Kind.PLAIN,
        *,
        buffers: Buffers = (None, None),
        idle: float = 1800,
    ) -> Session:
        """A session that the pump has."""
        session = await self.session(client, backend, buffers=buffers)
        self.add(session, idle_timeout=idle)
        return session

    def watched(self) -> int:
        """How many descriptors the kernel has in the pump's epoll set."""
        info = Path(f"/proc/self/fdinfo/{self.pump._epoll.fileno()}").read_text()
        return info.count("tfd:")

    def assert_empty(self) -> None:
        """Nothing is left of any session: no leg, no descriptor in the set, no octet on the account."""
        assert (len(self.pump), self.pump.backlog, self.watched(), self.pump._legs) == (0, 0, 0, {})

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    async def _leg(self, kind: Kind, buffers: int | None) -> tuple[End, Stream]:
        far, ours = connected_pair(buffers)
        match kind:
            case Kind.PLAIN:
                return End(far), PlainStream(ours)
            case Kind.TLS:
                return await self._tls(far, ours)
            case Kind.BACKEND_TLS:
                return await self._backend_tls(far, ours)

    async def _tls(self, far: socket.socket, ours: socket.socket) -> tuple[End, Stream]:
        client = Client(far, Visitor())
        streams: list[Stream] = []

        async def accept() -> None:
            streams.append(await accept_tls(ours, self._contexts, Protocol.IMAP))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                await client.handshake()
        return End(far, client), streams[0]

    async def _backend_tls(self, far: socket.socket, ours: socket.socket) -> tuple[End, Stream]:
        server = Peer(far, SSL.Connection(self._backend_context, far))
        server.connection.set_accept_state()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        stream = BackendTlsStream(ours, context, "localhost")
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.handshake)
                await server.handshake()
        return End(far, server), stream
