"""ClientHello messages that no library would send, octet by octet (RFC 8446 4.1.2, RFC 5246 7.4.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

SERVER_NAME, GROUPS, SIGNATURES, VERSIONS, EARLY_DATA, KEY_SHARE = 0, 10, 13, 43, 42, 51
_X25519, _P256 = b"\x00\x1d", b"\x00\x17"
_ECDHE_AES128 = b"\xc0\x2b\xc0\x2f"
_TLS13_AES128 = b"\x13\x01"


def record(kind: int, body: bytes, version: bytes = b"\x03\x01") -> bytes:
    return bytes([kind]) + version + len(body).to_bytes(2) + body


def server_name(name: bytes) -> bytes:
    """The body of the server_name extension (RFC 6066 3)."""
    entry = b"\0" + len(name).to_bytes(2) + name
    return len(entry).to_bytes(2) + entry


def client_hello(
    extensions: Sequence[tuple[int, bytes]] = (),
    *,
    version: bytes = b"\x03\x03",
    suites: bytes = _ECDHE_AES128,
    compression: bytes = b"\0",
) -> bytes:
    """A TLS 1.2 hello (or what ``version`` says) in one record."""
    every = [(GROUPS, b"\0\x04" + _X25519 + _P256), (SIGNATURES, b"\0\x06\x04\x03\x08\x04\x04\x01"), *extensions]
    blob = b"".join(kind.to_bytes(2) + len(body).to_bytes(2) + body for kind, body in every)
    hello = (
        version
        + bytes(range(32))
        + b"\0"
        + len(suites).to_bytes(2)
        + suites
        + bytes([len(compression)])
        + compression
        + len(blob).to_bytes(2)
        + blob
    )
    return record(22, b"\x01" + len(hello).to_bytes(3) + hello)


def client_hello_13(extensions: Sequence[tuple[int, bytes]] = ()) -> bytes:
    """A TLS 1.3 hello with an X25519 share that nobody has the key of."""
    share = _X25519 + b"\0\x20" + bytes(range(1, 33))
    return client_hello(
        [(VERSIONS, b"\x02\x03\x04"), (KEY_SHARE, len(share).to_bytes(2) + share), *extensions], suites=_TLS13_AES128
    )
