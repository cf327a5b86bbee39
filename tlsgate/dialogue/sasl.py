"""SASL, server side (RFC 4422): which mechanisms there are, and one client's exchanges, one after another."""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, cast

from msgspec import Struct

from tlsgate.dialogue.access_token import BearerToken, TokenAdvice, TokenError
from tlsgate.dialogue.challenge import Challenge, SaslError, decode, decode_initial
from tlsgate.dialogue.events import LocalProtocolError, Refusal, Refused, Shown
from tlsgate.dialogue.plain import Login, Plain
from tlsgate.dialogue.proofs import Rejected, SecretWanted

if TYPE_CHECKING:
    from tlsgate.dialogue.scram_secret import ScramSecret

EXTERNAL, SCRAM, PLUS = "EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
CANCELLED = "cancelled"
"""The reason of a login that the client gave up itself."""


_NO_ADVICE = TokenAdvice()


class Connection(Struct, frozen=True):
    """What mechanisms make use of. ``exporter``: its octets for "tls-exporter" (RFC 9266), None below TLS 1.3.

    ``certificate_user``: whom the client's verified certificate names. ``advice``: where a token is to be had.
    """

    exporter: bytes | None = None
    certificate_user: str | None = None
    advice: TokenAdvice = _NO_ADVICE


class Exchange(Protocol):
    """One authentication under way."""

    user: str | None

    def start(self, initial: bytes | None) -> Challenge | Shown | SecretWanted | Rejected:
        """Begin, with the client's initial response if it sent one. Raises SaslError."""
        ...

    def respond(self, response: bytes) -> Challenge | Shown | SecretWanted | Rejected:
        """Go on with the client's answer to the last challenge. Raises SaslError."""
        ...


class Bearer(Exchange, Protocol):
    """An exchange of a token: what the client is told of one that isn't taken."""

    def refused(self, error: TokenError) -> Challenge: ...


class SecretTaker(Exchange, Protocol):
    """An exchange that goes on with the user's secret."""

    def give(self, secret: ScramSecret) -> Challenge: ...
    def unavailable(self) -> Rejected: ...


class Failure(enum.Enum):
    """Why an exchange came to nothing; ``replies.SASL_FAILURES`` has each protocol's words for it."""

    MECHANISM = enum.auto()
    CANCELLED = enum.auto()
    RESPONSE = enum.auto()


class Failed(Struct, frozen=True):
    """An exchange is over without credentials. ``reason``: for the log. ``user``: the name, where it was shown."""

    failure: Failure
    reason: str
    user: str | None


class Finished(Struct, frozen=True):
    """The client has answered the challenge that told it of its failure: say so in the protocol's own words too."""

    refused: Refused


Step = Challenge | Shown | SecretWanted | Rejected | Failed | Finished


def usable(mechanisms: tuple[str, ...], connection: Connection) -> tuple[str, ...]:
    """Those of ``mechanisms`` that this connection can carry."""
    return _usable(mechanisms, connection.exporter is not None, connection.certificate_user is not None)


@lru_cache(64)
def _usable(mechanisms: tuple[str, ...], can_bind: bool, has_certificate: bool) -> tuple[str, ...]:
    without = {PLUS: not can_bind, EXTERNAL: not has_certificate}
    return tuple(name for name in mechanisms if not without.get(name))


@lru_cache(64)
def _known(mechanisms: tuple[str, ...]) -> frozenset[str]:
    return frozenset(MECHANISMS.keys() & mechanisms)


class Authentication:
    """The exchanges of one client, one after another. ``offered``: the names of the mechanisms that may be used.

    ``mechanism``: what the last one was, for events.
    """

    def __init__(self, offered: tuple[str, ...], connection: Connection) -> None:
        self._offered = _known(usable(offered, connection))
        self._connection = connection
        # The exchange is with whose turn it is: the client, the caller who has the secret, or the one who judges.
        self._asked: Exchange | None = None
        self._wanting: SecretTaker | None = None
        self._shown: Bearer | None = None
        self._refused: Refused | None = None
        self.mechanism = ""

    def known(self, mechanism: str) -> str:
        """The name for events: a client doesn't choose what is counted there."""
        return mechanism if mechanism in self._offered else "other"

    def begin(self, mechanism: str, initial: bytes | None) -> Step:
        """Begin an exchange. ``mechanism``: in capitals; ``initial``: the initial response as it came."""
        self._asked = self._wanting = self._shown = self._refused = None
        self.mechanism = self.known(mechanism)
        if mechanism not in self._offered:
            return Failed(Failure.MECHANISM, "mechanism not supported", shown_user(mechanism, initial))
        exchange = MECHANISMS[mechanism](self._bound())
        try:
            return self._noted(exchange, exchange.start(None if initial is None else decode_initial(initial)))
        except SaslError as error:
            return Failed(Failure.RESPONSE, str(error), exchange.user)

    def respond(self, line: bytes) -> Step:
        """Go on with a line of the client's, its end included. Raises LocalProtocolError when it isn't its turn."""
        exchange, self._asked = self._asked, None
        if exchange is None:
            raise LocalProtocolError("no response was asked for")
        refused, self._refused = self._refused, None
        if refused is not None:  # whatever the client says to it
            return Finished(refused)
        if not line.endswith(b"\r\n") or line == b"*\r\n":
            return Failed(Failure.CANCELLED, CANCELLED, exchange.user)
        try:
            return self._noted(exchange, exchange.respond(decode(line[:-2])))
        except SaslError as error:
            return Failed(Failure.RESPONSE, str(error), exchange.user)

    def give(self, secret: ScramSecret | None) -> Challenge:
        """Go on with the secret of the user who was asked for; None: it can't be told now.

        Raises LocalProtocolError when none was asked for.
        """
        taker, self._wanting = self._wanting, None
        if taker is None:
            raise LocalProtocolError("no secret was asked for")
        self._asked = taker
        if secret is not None:
            return taker.give(secret)
        self._refused = Refused(Refusal.UNAVAILABLE)
        return taker.unavailable().challenge

    def refuse(self, refused: Refused) -> Challenge | None:
        """What the mechanism says of a refusal before the protocol's own words, if it does (RFC 7628 3.2.3)."""
        bearer, self._shown = self._shown, None
        error = _TOKEN_ERRORS.get(refused.reason)
        if bearer is None or error is None:
            return None
        self._asked, self._refused = bearer, refused
        return bearer.refused(error)

    def _bound(self) -> Connection:
        # A client that can bind must be told of it where that isn't offered, and only there (RFC 5802 6).
        if PLUS in self._offered or self._connection.exporter is None:
            return self._connection
        return Connection(None, self._connection.certificate_user, self._connection.advice)

    def _noted(self, exchange: Exchange, step: Challenge | Shown | SecretWanted | Rejected) -> Step:
        match step:
            case SecretWanted():
                self._wanting = cast("SecretTaker", exchange)  # nothing else wants one
            case BearerToken():
                self._shown = cast("Bearer", exchange)
            case Challenge():
                self._asked = exchange
            case Rejected():
                self._asked, self._refused = exchange, Refused(Refusal.AUTHENTICATION_FAILED)
        return step


def shown_user(mechanism: str, initial: bytes | None) -> str | None:
    """The user name in an initial response that isn't used, where one can be read."""
    if not initial or mechanism not in MECHANISMS or mechanism == EXTERNAL:
        return None
    exchange = MECHANISMS[SCRAM if mechanism == PLUS else mechanism](Connection())
    try:
        exchange.start(decode_initial(initial))
    except SaslError:
        return exchange.user
    return exchange.user


# -- the mechanisms; those that few configs have are loaded when one is used ------------------------


def _scram(connection: Connection) -> Exchange:
    from tlsgate.dialogue.scram import Scram

    return Scram(plus=False, exporter=connection.exporter)


def _scram_plus(connection: Connection) -> Exchange:
    from tlsgate.dialogue.scram import Scram

    return Scram(plus=True, exporter=connection.exporter)


def _oauthbearer(connection: Connection) -> Exchange:
    from tlsgate.dialogue.bearer import OAuthBearer

    return OAuthBearer(connection.advice)


def _xoauth2(connection: Connection) -> Exchange:
    from tlsgate.dialogue.bearer import XOAuth2

    return XOAuth2(connection.advice)


def _external(connection: Connection) -> Exchange:
    from tlsgate.dialogue.external import External

    if connection.certificate_user is None:
        raise LocalProtocolError("EXTERNAL without a certificate")
    return External(connection.certificate_user)


MECHANISMS: dict[str, Callable[[Connection], Exchange]] = {
    "PLAIN": lambda _: Plain(),
    "LOGIN": lambda _: Login(),
    SCRAM: _scram,
    PLUS: _scram_plus,
    "OAUTHBEARER": _oauthbearer,
    "XOAUTH2": _xoauth2,
    EXTERNAL: _external,
}
_TOKEN_ERRORS = {
    Refusal.AUTHENTICATION_FAILED: TokenError.INVALID_TOKEN,
    Refusal.EXPIRED: TokenError.INVALID_TOKEN,
    Refusal.AUTHORIZATION_FAILED: TokenError.INSUFFICIENT_SCOPE,
}
