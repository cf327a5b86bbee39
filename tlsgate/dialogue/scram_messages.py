"""A SCRAM client's two messages, read strictly and in order (RFC 5802 5 and 7)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from msgspec import Struct

from tlsgate.dialogue.challenge import SaslError, decode
from tlsgate.dialogue.credentials import LONGEST_USER
from tlsgate.dialogue.gs2 import Gs2Header, read_gs2, saslname
from tlsgate.dialogue.saslprep import saslprep

LONGEST_MESSAGE = 4096
_USER = re.compile(r"n=([^,\0]+)")
_NONCE = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+)")
_EXTENSION = re.compile(r"[A-Za-z]=[^,\0]+")
_OWN = "aceimnprsv"  # attributes that have a place of their own (RFC 5802 5.1)


class ScramError(enum.StrEnum):
    """What "e=" says (RFC 5802 7). "unknown-user" is never said: the proof fails."""

    EXTENSIONS_NOT_SUPPORTED = "extensions-not-supported"
    INVALID_PROOF = "invalid-proof"
    CHANNEL_BINDINGS_DONT_MATCH = "channel-bindings-dont-match"
    SERVER_DOES_SUPPORT_CHANNEL_BINDING = "server-does-support-channel-binding"
    CHANNEL_BINDING_NOT_SUPPORTED = "channel-binding-not-supported"
    UNSUPPORTED_CHANNEL_BINDING_TYPE = "unsupported-channel-binding-type"
    INVALID_USERNAME_ENCODING = "invalid-username-encoding"
    NO_RESOURCES = "no-resources"
    OTHER_ERROR = "other-error"


class ScramFailure(Exception):
    """A message that can be read, and must fail with ``error``."""

    def __init__(self, error: ScramError) -> None:
        super().__init__(error.value)
        self.error = error


class ClientFirst(Struct, frozen=True):
    """``user``: as it was sent, not prepared. ``bare``: the message without the GS2 header."""

    gs2: Gs2Header
    user: str
    nonce: str
    bare: str


@dataclass(frozen=True, slots=True)
class ClientFinal:
    """``binding``: the GS2 header and the channel binding data. ``without_proof``: what the proof is of."""

    binding: bytes = field(repr=False)
    nonce: str
    proof: bytes = field(repr=False)
    without_proof: str = field(repr=False)


def read_client_first(message: bytes) -> ClientFirst:
    """Raises SaslError for what is no such message, ScramFailure for an extension that must be understood."""
    gs2, bare = read_gs2(_text(message))
    fields = bare.split(",")
    if fields[0].startswith("m="):
        raise ScramFailure(ScramError.EXTENSIONS_NOT_SUPPORTED)
    if len(fields) < 2:
        raise SaslError("malformed SCRAM message")
    user, nonce = saslname(_value(_USER, fields[0])), _value(_NONCE, fields[1])
    _check_extensions(fields[2:])
    return ClientFirst(gs2, user, nonce, bare)


def read_client_final(message: bytes) -> ClientFinal:
    """Raises SaslError for what is no such message, ScramFailure for an extension that must be understood."""
    text = _text(message)
    fields = text.split(",")
    if len(fields) < 3 or not fields[0].startswith("c=") or not fields[-1].startswith("p="):
        raise SaslError("malformed SCRAM message")
    _check_extensions(fields[2:-1])
    binding, proof = decode(fields[0][2:].encode()), decode(fields[-1][2:].encode())
    return ClientFinal(binding, _value(_NONCE, fields[1]), proof, text[: -len(fields[-1]) - 1])


def prepared_user(user: str) -> str:
    """The name to look for, by SASLprep. Raises ScramFailure."""
    try:
        prepared = saslprep(user, longest=LONGEST_USER)
    except ValueError:
        raise ScramFailure(ScramError.INVALID_USERNAME_ENCODING) from None
    if not prepared:
        raise ScramFailure(ScramError.INVALID_USERNAME_ENCODING)
    return prepared


def _text(message: bytes) -> str:
    if len(message) > LONGEST_MESSAGE:
        raise SaslError("SCRAM message too long")
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise SaslError("SCRAM message is not UTF-8") from None


def _value(form: re.Pattern[str], attribute: str) -> str:
    found = form.fullmatch(attribute)
    if found is None:
        raise SaslError("malformed SCRAM message")
    return found[1]


def _check_extensions(fields: list[str]) -> None:
    """Optional extensions are passed over (RFC 5802 5.1), once they are none of the attributes out of their place."""
    for each in fields:
        if each.startswith("m="):
            raise ScramFailure(ScramError.EXTENSIONS_NOT_SUPPORTED)
        if _EXTENSION.fullmatch(each) is None or each[0] in _OWN:
            raise SaslError("malformed SCRAM message")
