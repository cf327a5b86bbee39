"""SASL mechanisms, server side (RFC 4422): challenges out, responses in, credentials at the end."""

from __future__ import annotations

import binascii
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tlsgate.dialogue.credentials import Credentials, CredentialsError, credentials, readable_user
from tlsgate.dialogue.events import LocalProtocolError


class SaslError(Exception):
    """The client's response can't be read. The text never holds any of it."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Octets for the client, not yet encoded."""

    data: bytes


class Exchange(Protocol):
    """One authentication under way."""

    user: str | None

    def start(self, initial: bytes | None) -> Challenge | Credentials:
        """Begin, with the client's initial response if it sent one. Raises SaslError."""
        ...

    def respond(self, response: bytes) -> Challenge | Credentials:
        """Go on with the client's answer to the last challenge. Raises SaslError."""
        ...


class Plain:
    """PLAIN: authzid NUL authcid NUL passwd (RFC 4616)."""

    def __init__(self) -> None:
        self.user: str | None = None

    def start(self, initial: bytes | None) -> Challenge | Credentials:
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Credentials:
        fields = response.split(b"\0")
        if len(fields) != 3:
            raise SaslError("malformed PLAIN response")
        authzid, user, secret = fields
        self.user = readable_user(user)
        return _credentials(user, secret, authzid)


class Login:
    """LOGIN: two prompts (draft-murchison-sasl-login); an initial response is the user name."""

    def __init__(self) -> None:
        self.user: str | None = None
        self._user: bytes | None = None

    def start(self, initial: bytes | None) -> Challenge | Credentials:
        return Challenge(b"Username:") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Challenge | Credentials:
        if self._user is None:
            self._user = response
            self.user = readable_user(response)
            return Challenge(b"Password:")
        return _credentials(self._user, response)


MECHANISMS: dict[str, Callable[[], Exchange]] = {"PLAIN": Plain, "LOGIN": Login}

CANCELLED = "cancelled"
"""The reason of a login that the client gave up itself."""


class Failure(enum.Enum):
    """Why an exchange came to nothing; ``replies.SASL_FAILURES`` has each protocol's words for it."""

    MECHANISM = enum.auto()
    CANCELLED = enum.auto()
    RESPONSE = enum.auto()


@dataclass(frozen=True, slots=True)
class Failed:
    """An exchange is over without credentials. ``reason``: for the log. ``user``: the name, where it was shown."""

    failure: Failure
    reason: str
    user: str | None


Step = Challenge | Credentials | Failed


class Authentication:
    """The exchanges of one client, one after another. ``offered``: the names of the mechanisms that may be used.

    ``mechanism``: what the last one was, for events.
    """

    def __init__(self, offered: tuple[str, ...]) -> None:
        self._offered = MECHANISMS.keys() & offered
        self._exchange: Exchange | None = None
        self.mechanism = ""

    def known(self, mechanism: str) -> str:
        """The name for events: a client doesn't choose what is counted there."""
        return mechanism if mechanism in self._offered else "other"

    def begin(self, mechanism: str, initial: bytes | None) -> Step:
        """Begin an exchange. ``mechanism``: in capitals; ``initial``: the initial response as it came."""
        self.mechanism = self.known(mechanism)
        if mechanism not in self._offered:
            return Failed(Failure.MECHANISM, "mechanism not supported", shown_user(mechanism, initial))
        exchange = self._exchange = MECHANISMS[mechanism]()
        try:
            return exchange.start(None if initial is None else decode_initial(initial))
        except SaslError as error:
            return Failed(Failure.RESPONSE, str(error), exchange.user)

    def respond(self, line: bytes) -> Step:
        """Go on with a line of the client's, its end included. Raises LocalProtocolError before ``begin``."""
        exchange = self._exchange
        if exchange is None:
            raise LocalProtocolError("no exchange")
        if not line.endswith(b"\r\n") or line == b"*\r\n":
            return Failed(Failure.CANCELLED, CANCELLED, exchange.user)
        try:
            return exchange.respond(decode(line[:-2]))
        except SaslError as error:
            return Failed(Failure.RESPONSE, str(error), exchange.user)


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


def shown_user(mechanism: str, initial: bytes | None) -> str | None:
    """The user name in an initial response that isn't used, where one can be read."""
    if not initial or mechanism not in MECHANISMS:
        return None
    exchange = MECHANISMS[mechanism]()
    try:
        exchange.start(decode_initial(initial))
    except SaslError:
        return exchange.user
    return exchange.user


def _credentials(user: bytes, secret: bytes, authzid: bytes = b"") -> Credentials:
    try:
        return credentials(user, secret, authzid)
    except CredentialsError as error:
        raise SaslError(str(error)) from None
