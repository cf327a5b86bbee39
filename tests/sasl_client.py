"""SASL exchanges of a gate's client, in each protocol's form, and TLS whose exporter it can tell (RFC 9266)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TypeVar

import trio
from OpenSSL import SSL

from tests.dialogue import scram_client
from tests.gate import HOSTNAME, Client, Gate
from tlsgate.config import Protocol

_AUTH = {Protocol.IMAP: b"a AUTHENTICATE ", Protocol.POP3: b"AUTH ", Protocol.SUBMISSION: b"AUTH "}
Got = TypeVar("Got")


class Sasl:
    """Exchanges of one client."""

    def __init__(self, client: Client, protocol: Protocol) -> None:
        self.client = client
        self._auth = _AUTH[protocol]
        self._challenge = b"334 " if protocol is Protocol.SUBMISSION else b"+ "

    async def begin(self, mechanism: str, initial: bytes) -> bytes:
        """What is said to a mechanism with its initial response."""
        await self.client.hello()
        return await self.client.ask(self._auth + mechanism.encode() + b" " + (base64.b64encode(initial) or b"="))

    async def respond(self, response: bytes) -> bytes:
        return await self.client.ask(base64.b64encode(response))

    def told(self, reply: bytes) -> bytes:
        """The challenge that a reply is."""
        assert reply.startswith(self._challenge), reply
        return base64.b64decode(reply.removeprefix(self._challenge))

    async def plain(self, user: str, secret: str) -> bytes:
        return await self.begin("PLAIN", f"\0{user}\0{secret}".encode())

    async def proof(self, user: str, secret: str, binding: bytes | None = None) -> bytes:
        """What is said to a proof of the ``secret``; ``binding``: that of SCRAM-SHA-256-PLUS."""
        header = "n,," if binding is None else "p=tls-exporter,,"
        mechanism = "SCRAM-SHA-256" if binding is None else "SCRAM-SHA-256-PLUS"
        first = self.told(await self.begin(mechanism, scram_client.client_first(header, user)))
        final = scram_client.client_final(secret, first, header=header, user=user, binding=binding or b"")
        return self.told(await self.respond(final))

    async def scram(self, user: str, secret: str, binding: bytes | None = None) -> bytes:
        """The reply that decides."""
        await self.proof(user, secret, binding)
        return await self.respond(b"")

    async def bearer(self, token: str, user: str = "") -> bytes:
        name = f"a={user}" if user else ""
        return await self.begin("OAUTHBEARER", f"n,{name},\x01auth=Bearer {token}\x01\x01".encode())

    async def xoauth2(self, token: str, user: str) -> bytes:
        return await self.begin("XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode())


async def sasl(running: Gate, source: str = "127.0.0.1", owner: str = "") -> Sasl:
    """A client behind the handshake."""
    return Sasl(await running.secure(source=source, owner=owner), running.protocol)


async def bound(running: Gate, versions: tuple[int, int] = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)) -> BoundSasl:
    """One of implicit TLS that knows its exporter."""
    client = await running.connect()
    over = _OpenSsl(client.socket, versions)
    await over.do(over.connection.do_handshake)
    client._stream = over
    assert (await client.line()).startswith(client.speech.greeting)
    return BoundSasl(
        client, running.protocol, over.connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    )


class BoundSasl(Sasl):
    """``exporter``: its connection's octets."""

    def __init__(self, client: Client, protocol: Protocol, exporter: bytes) -> None:
        super().__init__(client, protocol)
        self.exporter = exporter


class _OpenSsl(trio.abc.Stream):
    """A client's TLS that the standard library's module couldn't bind to."""

    def __init__(self, connected: trio.socket.SocketType, versions: tuple[int, int]) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(versions[0])
        context.set_max_proto_version(versions[1])
        self._socket = connected
        self.connection = SSL.Connection(context, None)
        self.connection.set_tlsext_host_name(HOSTNAME.encode())
        self.connection.set_connect_state()

    async def do(self, call: Callable[[], Got]) -> Got:
        while True:
            try:
                return call()
            except SSL.WantReadError:
                await self._flush()
                data = await self._socket.recv(65536)
                if data:
                    self.connection.bio_write(data)
                else:
                    self.connection.bio_shutdown()
            finally:
                await self._flush()

    async def _flush(self) -> None:
        try:
            data = memoryview(self.connection.bio_read(65536))
        except SSL.WantReadError:
            return
        while data:
            data = data[await self._socket.send(data) :]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.do(lambda: self.connection.sendall(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            return await self.do(lambda: self.connection.recv(max_bytes or 65536))
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return b""

    async def aclose(self) -> None:
        self._socket.close()
