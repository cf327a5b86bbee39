"""What travels in a SASL exchange: challenges out, responses in, both in base64 (RFC 4422, RFC 4648)."""

from __future__ import annotations

import binascii

from msgspec import Struct


class SaslError(Exception):
    """The client's response can't be read. The text never holds any of it."""


class Challenge(Struct, frozen=True):
    """Octets for the client, not yet encoded."""

    data: bytes


def decode(line: bytes) -> bytes:
    """Base64 of one response, strictly (RFC 4648 3.3: no noise). Raises SaslError."""
    try:
        return binascii.a2b_base64(line, strict_mode=True) if line else b""
    except binascii.Error:
        raise SaslError("bad base64") from None


def decode_initial(argument: bytes) -> bytes:
    """An initial response: "=" stands for the empty one (RFC 4954 4, RFC 5034 4, RFC 4959 3). Raises SaslError."""
    if argument == b"=":
        return b""
    if not argument:
        raise SaslError("empty initial response")
    return decode(argument)


def encode(data: bytes) -> bytes:
    """Base64 on one line."""
    return binascii.b2a_base64(data, newline=False)
