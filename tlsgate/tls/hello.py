"""The server name in a ClientHello (RFC 8446 4.1.2, RFC 6066 3), read before OpenSSL sees it. Sans-IO."""

from __future__ import annotations

import enum
from collections.abc import Iterator

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0


class Hello(enum.Enum):
    """When there is no name to give."""

    INCOMPLETE = enum.auto()
    WITHOUT_NAME = enum.auto()


def server_name(data: bytes) -> str | Hello:
    """The SNI host name in what a client has sent so far, which may be any bytes at all.

    INCOMPLETE: more octets may bring one. WITHOUT_NAME: none there, or not a ClientHello that can be read; OpenSSL
    will say what is wrong with it.
    """
    try:
        message = _handshake_message(data)
        return Hello.INCOMPLETE if message is None else _find_name(message)
    except (IndexError, UnicodeDecodeError):
        return Hello.WITHOUT_NAME


def octets_wanted(data: bytes) -> int:
    """How many octets of an INCOMPLETE hello, counted from its first, another look needs: whole records."""
    at = 0
    while at + 5 <= len(data):
        at += 5 + int.from_bytes(data[at + 3 : at + 5])
    return at if at > len(data) else at + 5


def _handshake_message(data: bytes) -> bytes | None:
    """The ClientHello's body, put together from its records; None while incomplete. Raises IndexError if it's none."""
    body = b""
    at = 0
    while True:
        if at < len(data) and data[at] != _HANDSHAKE:
            raise IndexError
        if len(data) < at + 5:
            return None
        size = int.from_bytes(data[at + 3 : at + 5])
        if size == 0:
            raise IndexError
        body += data[at + 5 : at + 5 + size]
        if body[:1] and body[0] != _CLIENT_HELLO:
            raise IndexError
        if len(body) >= 4 and len(body) >= 4 + int.from_bytes(body[1:4]):
            return body[4 : 4 + int.from_bytes(body[1:4])]
        if len(data) < at + 5 + size:
            return None
        at += 5 + size


def _find_name(hello: bytes) -> str | Hello:
    at = 2 + 32
    at += 1 + hello[at]  # session id
    at += 2 + int.from_bytes(hello[at : at + 2])  # cipher suites
    at += 1 + hello[at]  # compression methods
    for kind, extension in _extensions(hello[at + 2 :]):
        if kind == _SERVER_NAME and len(extension) > 5 and extension[2] == 0:
            size = int.from_bytes(extension[3:5])
            return extension[5 : 5 + size].decode("ascii")
    return Hello.WITHOUT_NAME


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4])
        yield int.from_bytes(data[at : at + 2]), data[at + 4 : at + 4 + size]
        at += 4 + size
