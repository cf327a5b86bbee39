"""A client's handshake: choose the context by its server name, then let OpenSSL speak."""

from __future__ import annotations

import socket

import trio
from msgspec import Struct
from OpenSSL import SSL

from tlsgate.config import Protocol
from tlsgate.tls.contexts import ForeignProtocol, ServerContexts
from tlsgate.tls.hello import Hello, octets_wanted, server_name
from tlsgate.tls.stream import StreamLost, TlsStream, tls_reason
from tlsgate.tls.waits import READABLE, waits

_LONGEST_HELLO = 16384
# A look reads all that came before, so a hello in thousands of tiny records must not get one for each.
_MOST_LOOKS = 32
_LONGEST_NAME = 255
_ESTABLISHED = 1
_PAUSE = 0.05


class TlsFacts(Struct, frozen=True):
    """What was negotiated. ``sni`` is the client's word: printable and bounded, but not a label."""

    version: str
    cipher: str
    group: str
    sni: str | None


async def accept_tls(connected: socket.socket, contexts: ServerContexts, protocol: Protocol) -> TlsStream:
    """Do the server's side of the handshake on a connected socket. Raises StreamLost with a short reason, Expired."""
    name = await _peek_server_name(connected) if contexts.by_name else None
    try:
        stream = TlsStream(connected, contexts.choose(protocol, name))
        await stream.handshake()
    except ForeignProtocol:
        raise StreamLost("no application protocol") from None
    except SSL.Error as error:
        raise StreamLost(tls_reason(error)) from None
    return stream


def octets_are_here(connected: socket.socket) -> bool:
    """Whether a read would give something, if only the peer's end, or fail."""
    try:
        connected.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:  # the handshake will say which
        return True
    return True


def tls_facts(stream: TlsStream) -> TlsFacts:
    """What the finished handshake agreed on."""
    connection = stream.connection
    sni = connection.get_servername()
    return TlsFacts(
        connection.get_protocol_version_name(),
        connection.get_cipher_name() or "unknown",
        connection.get_group_name() or "none",
        None if sni is None else _printable(sni),
    )


def _printable(name: bytes) -> str:
    return "".join(chr(octet) if 0x21 <= octet <= 0x7E else f"\\x{octet:02x}" for octet in name)[:_LONGEST_NAME]


async def _peek_server_name(connected: socket.socket) -> str | None:
    """The name in the ClientHello, which stays where it is; a dribbling client costs two wake-ups a record."""
    seen = -1
    try:
        for _ in range(_MOST_LOOKS):
            data = await _peek(connected)
            name = server_name(data)
            if name is not Hello.INCOMPLETE or len(data) in (0, _LONGEST_HELLO):
                return name if isinstance(name, str) else None
            if len(data) == seen:
                if _ended(connected):  # OpenSSL will find the same
                    return None
                await trio.sleep(_PAUSE)  # woken early: the kernel does so where its buffer is small
            seen = len(data)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(octets_wanted(data), _LONGEST_HELLO))
            await waits().wait(connected.fileno(), READABLE)
        return None
    except OSError as error:
        raise StreamLost(error.strerror or "connection lost") from None
    finally:
        if seen >= 0 and connected.fileno() >= 0:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _ended(connected: socket.socket) -> bool:
    """Whether the client has ended its stream (tcp(7), TCP_INFO)."""
    if connected.family == socket.AF_UNIX:
        return True  # nothing tells; and nothing wakes us early
    return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED


async def _peek(connected: socket.socket) -> bytes:
    while True:
        try:
            return connected.recv(_LONGEST_HELLO, socket.MSG_PEEK)
        except BlockingIOError:
            await waits().wait(connected.fileno(), READABLE)
