"""Cases A17 to A22 on the wire: ClientHellos that are none, too old, for others, cut short; tickets of other listeners.

What fails here has an attacker choose weak TLS, lead a browser here, or hold places that nobody gives back.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import HELLO, IMAP, MX, POP3, SUBMISSION, WRONG, Case, each
from tests.dialogue.transcript import shown
from tests.gate import HOSTNAME, Client, Gate, authority, gate, pool_of
from tests.legacy_server import LegacyServer
from tests.test_session import SCRIPTS, each_mode, each_protocol
from tests.tls import hellos
from tests.tls.peer import Visitor, hello_of
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

ALPN = 16
PROTOCOL_VERSION, HANDSHAKE_FAILURE, RECORD_OVERFLOW, UNRECOGNIZED_NAME, NO_PROTOCOL = 70, 40, 22, 112, 120
NAMES = {IMAP: b"imap", POP3: b"pop3", SUBMISSION: b"smtp", MX: b"smtp"}


def offering(*names: bytes) -> bytes:
    """A ClientHello that offers these protocols (RFC 7301)."""
    listed = b"".join(bytes([len(name)]) + name for name in names)
    return hellos.client_hello([(ALPN, len(listed).to_bytes(2) + listed)])


def naming(name: bytes) -> bytes:
    """A ClientHello with this server name."""
    return hellos.client_hello([(hellos.SERVER_NAME, hellos.server_name(name))])


# What is sent where a ClientHello is due, and the alert that answers it; None: OpenSSL closes without one or with any.
REFUSED: dict[str, tuple[bytes, int | None]] = {
    "A17_{}_http_get_where_tls_is_due": (b"GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n", None),
    "A17_{}_http_post_where_tls_is_due": (b"POST / HTTP/1.1\r\n\r\na LOGIN ann " + WRONG.encode() + b"\r\n", None),
    "A17_{}_login_where_tls_is_due": (b"a LOGIN ann " + WRONG.encode() + b"\r\n", None),
    "A18_{}_alpn_of_browsers": (offering(b"h2", b"http/1.1"), NO_PROTOCOL),
    "A18_{}_alpn_of_ftp": (offering(b"ftp"), NO_PROTOCOL),
    "A19_{}_server_name_of_300": (naming(b"a" * 300), UNRECOGNIZED_NAME),
    "A19_{}_server_name_with_nul": (naming(b"mail.example.org\0.evil.example"), UNRECOGNIZED_NAME),
    "A20_{}_ssl_2": (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37), None),
    "A20_{}_ssl_3": (hellos.client_hello(version=b"\x03\x00", suites=b"\xc0\x09\xc0\x13\x00\x2f"), PROTOCOL_VERSION),
    "A20_{}_tls_1_0": (hellos.client_hello(version=b"\x03\x01", suites=b"\xc0\x09\xc0\x13\x00\x2f"), PROTOCOL_VERSION),
    "A20_{}_tls_1_1": (hellos.client_hello(version=b"\x03\x02", suites=b"\xc0\x09\xc0\x13\x00\x2f"), PROTOCOL_VERSION),
    "A20_{}_ciphers_null_and_rc4": (hellos.client_hello(suites=b"\x00\x02\x00\x05"), HANDSHAKE_FAILURE),
    "A20_{}_ciphers_of_export": (hellos.client_hello(suites=b"\x00\x03\x00\x06\x00\x14"), HANDSHAKE_FAILURE),
    "A20_{}_ciphers_without_forward_secrecy": (hellos.client_hello(suites=b"\x00\x9c\x00\x2f"), HANDSHAKE_FAILURE),
    "A20_{}_early_data": (
        hellos.client_hello_13([(hellos.EARLY_DATA, b"")])
        + hellos.record(23, b"a LOGIN ann " + WRONG.encode() + b"\r\n" + bytes(16000), b"\x03\x03") * 3,
        None,
    ),
    "A21_{}_record_too_large": (b"\x16\x03\x01\x48\x01\x01" + bytes(18000), RECORD_OVERFLOW),
    "A21_{}_application_data_first": (hellos.record(23, b"a LOGIN ann x\r\n"), None),
    "A21_{}_zeros": (bytes(100), None),
}
CASES = tuple(
    Case(
        name.format(protocol),
        protocol,
        HELLO,
        f"F: {shown(data)}\n" + (f"A: {alert}" if alert is not None else ""),
        ended="handshake_failed ",
    )
    for protocol in Protocol
    for name, (data, alert) in REFUSED.items()
)


@each(*CASES)
async def test_hellos_that_are_refused(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


# -- handshakes that stand, or are left ---------------------------------------------------------------------


async def due(running: Gate) -> Client:
    """A client whose ClientHello is due."""
    client = await running.connect()
    if running.tls is TlsMode.STARTTLS:
        assert (await client.line()).startswith(client.speech.greeting)
        assert (await client.ask(client.speech.starttls)).startswith(client.speech.go)
    return client


def descriptors() -> int:
    """How many are open in this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def context() -> ssl.SSLContext:
    """A client that trusts us, and leaves the name to the test."""
    made = ssl.create_default_context()
    authority().configure_trust(made)
    made.check_hostname = False
    return made


async def shaken(
    client: Client, made: ssl.SSLContext, name: str | None, session: object = None
) -> trio.SSLStream[trio.abc.Stream]:
    """Behind a handshake with this server name, of an earlier session if there is one."""
    stream = trio.SSLStream(client._stream, made, server_hostname=name, https_compatible=True)
    if session is not None:
        stream.session = session
    await stream.do_handshake()
    client._stream = stream
    return stream


async def serve(nursery: trio.Nursery, protocol: Protocol) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(SCRIPTS[protocol]).serve)
    return server


@each_protocol
@each_mode
@pytest.mark.parametrize("name", [None, "unknown.example", "127.0.0.1", "a" * 63 + ".example"], ids=range(4))
async def test_A19_unknown_server_name(
    nursery: trio.Nursery, protocol: Protocol, tls: TlsMode, name: str | None
) -> None:
    """The default certificate, and a login that stands."""
    server = await serve(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address)) as running:
        client = await due(running)
        stream = await shaken(client, context(), name)
        assert ("DNS", HOSTNAME) in stream.getpeercert()["subjectAltName"]
        if tls is TlsMode.IMPLICIT:
            assert (await client.line()).startswith(client.speech.greeting)
        assert (await client.log_in()).startswith(client.speech.granted)
        client.close()
        await running.quiet()


@each_protocol
@each_mode
async def test_A18_alpn_of_our_own(nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    """Who names the protocol that is spoken here gets it, whatever else it offers."""
    server = await serve(nursery, protocol)
    async with gate(protocol, tls, pool_of(server.address)) as running:
        made = context()
        made.set_alpn_protocols(["h2", NAMES[protocol].decode()])
        stream = await shaken(await due(running), made, HOSTNAME)
        assert stream.selected_alpn_protocol() == NAMES[protocol].decode()


@each_protocol
@each_mode
async def test_A21_handshake_left_at_every_octet(nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    """Closed, reset or half-closed: each fails by itself, and no place and no descriptor is kept."""
    server = await serve(nursery, protocol)
    _, hello = hello_of(Visitor(), HOSTNAME.encode())
    async with gate(protocol, tls, pool_of(server.address)) as running:
        (await running.secure()).close()
        await running.quiet()
        before = descriptors()
        for count in range(0, len(hello), 23):
            for leave in (Client.close, Client.reset, lambda left: left.socket.shutdown(trio.socket.SHUT_WR)):
                client = await due(running)
                await client.send(hello[:count])
                leave(client)
        with trio.fail_after(20):
            await running.quiet()
        for client in running.clients:
            client.close()
        assert descriptors() <= before
        failed = running.trace.sessions[1:]
        assert len(failed) > 30
        assert {session.end[0] for session in failed} == {"handshake_failed"}
        client = await running.logged_in()
        client.close()
        await running.quiet()


@each_mode
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_A22_ticket_of_another_listener(nursery: trio.Nursery, tls: TlsMode, version: ssl.TLSVersion) -> None:
    """A session of one protocol begins none of another, where the certificate alone would let it (ALPACA)."""
    imap, pop3 = await serve(nursery, IMAP), await serve(nursery, POP3)
    made = context()
    made.minimum_version = made.maximum_version = version
    async with gate(IMAP, tls, pool_of(imap.address)) as ours, gate(POP3, tls, pool_of(pop3.address)) as others:

        async def resumed(running: Gate, session: object) -> tuple[bool, object]:
            client = await due(running)
            stream = await shaken(client, made, HOSTNAME, session)
            if tls is TlsMode.IMPLICIT:
                await client.line()
            await client.ask(b"a NOOP")  # tickets of TLS 1.3 come behind the handshake
            return stream.session_reused, stream.session

        reused, session = await resumed(ours, None)
        assert not reused
        assert (await resumed(ours, session))[0]
        assert not (await resumed(others, session))[0]
