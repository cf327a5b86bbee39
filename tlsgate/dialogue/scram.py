"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, server side (RFC 5802, RFC 7677; tls-exporter: RFC 9266).

State    what comes                          leads to
FIRST    start(), respond(client-first)      FIRST (asked for it), SECRET, OVER
SECRET   give(secret), unavailable()         FINAL, OVER
FINAL    respond(client-final)               ANSWERED, OVER
ANSWERED respond(b"")                        OVER
OVER     nothing
"""

from __future__ import annotations

import enum
import hmac
import secrets

from tlsgate.dialogue.challenge import Challenge, SaslError, encode
from tlsgate.dialogue.credentials import CredentialsError, readable_user
from tlsgate.dialogue.events import LocalProtocolError
from tlsgate.dialogue.proofs import Proven, Rejected, SecretWanted
from tlsgate.dialogue.scram_messages import (
    ClientFirst,
    ScramError,
    ScramFailure,
    prepared_user,
    read_client_final,
    read_client_first,
)
from tlsgate.dialogue.scram_secret import ScramSecret

CHANNEL_BINDING = "tls-exporter"
_NONCE_OCTETS = 18  # 24 characters of base64


class State(enum.Enum):
    """See the module's table."""

    FIRST = enum.auto()
    SECRET = enum.auto()
    FINAL = enum.auto()
    ANSWERED = enum.auto()
    OVER = enum.auto()


class Scram:
    """One exchange.

    ``plus``: SCRAM-SHA-256-PLUS was chosen. ``exporter``: the connection's 32 octets for "tls-exporter" (RFC 9266 2),
    None where PLUS isn't offered; below TLS 1.3 it must not be (RFC 9266 4). ``nonce``: our part, printable, no ",".
    """

    def __init__(self, *, plus: bool, exporter: bytes | None, nonce: str | None = None) -> None:
        if plus and exporter is None:
            raise LocalProtocolError("PLUS without a channel binding")
        self._plus = plus
        self._exporter = exporter
        self._nonce = nonce or encode(secrets.token_bytes(_NONCE_OCTETS)).decode()
        self.state = State.FIRST
        self.user: str | None = None
        self._first: ClientFirst
        self._wanted: SecretWanted
        self._secret: ScramSecret
        self._server_first: str

    def start(self, initial: bytes | None) -> Challenge | SecretWanted | Rejected:
        """Begin, with the client's initial response if it sent one. Raises SaslError."""
        if self.state is not State.FIRST:
            raise LocalProtocolError(f"no start in state {self.state.name}")
        return Challenge(b"") if initial is None else self._receive_first(initial)

    def respond(self, response: bytes) -> Challenge | SecretWanted | Rejected | Proven:
        """Go on with the client's answer to the last challenge. Raises SaslError."""
        match self.state:
            case State.FIRST:
                return self._receive_first(response)
            case State.FINAL:
                return self._receive_final(response)
            case State.ANSWERED:
                self.state = State.OVER
                if response:
                    raise SaslError("response behind the end of SCRAM")
                return Proven(self._wanted.user, self._wanted.authzid)
            case State.SECRET | State.OVER:
                raise LocalProtocolError(f"no response in state {self.state.name}")

    def give(self, secret: ScramSecret) -> Challenge:
        """Go on with the secret of the user who was asked for, or a decoy where there is none."""
        if self.state is not State.SECRET:
            raise LocalProtocolError("no secret was asked for")
        self.state = State.FINAL
        self._secret = secret
        salt = encode(secret.salt).decode()
        self._server_first = f"r={self._first.nonce}{self._nonce},s={salt},i={secret.iterations}"
        return Challenge(self._server_first.encode())

    def unavailable(self) -> Rejected:
        """End: who knows the user's secret can't be asked now."""
        if self.state is not State.SECRET:
            raise LocalProtocolError("no secret was asked for")
        return self._reject(ScramError.NO_RESOURCES)

    def _receive_first(self, message: bytes) -> SecretWanted | Rejected:
        self.state = State.OVER
        try:
            first = read_client_first(message)
            self.user = readable_user(first.user.encode())
            self._check_binding(first)
            self._wanted = SecretWanted(prepared_user(first.user), first.gs2.authzid)
        except ScramFailure as failure:
            return self._reject(failure.error)
        except CredentialsError as error:
            raise SaslError(str(error)) from None
        self._first = first
        self.user = self._wanted.user
        self.state = State.SECRET
        return self._wanted

    def _check_binding(self, first: ClientFirst) -> None:
        """RFC 5802 6. A client that believes us without PLUS, where we offer it, was lied to on the way."""
        match first.gs2.flag:
            case "y" if self._exporter is not None:
                raise ScramFailure(ScramError.SERVER_DOES_SUPPORT_CHANNEL_BINDING)
            case "p" if not self._plus:
                raise ScramFailure(ScramError.CHANNEL_BINDING_NOT_SUPPORTED)
            case "p" if first.gs2.binding != CHANNEL_BINDING:
                raise ScramFailure(ScramError.UNSUPPORTED_CHANNEL_BINDING_TYPE)
            case "n" if self._plus:
                raise SaslError("PLUS without channel binding")

    def _receive_final(self, message: bytes) -> Challenge | Rejected:
        self.state = State.OVER
        try:
            final = read_client_final(message)
        except ScramFailure as failure:
            return self._reject(failure.error)
        bound = self._first.gs2.text.encode() + ((self._exporter or b"") if self._plus else b"")
        if not hmac.compare_digest(final.binding, bound):
            return self._reject(ScramError.CHANNEL_BINDINGS_DONT_MATCH)
        if final.nonce != self._first.nonce + self._nonce:
            return self._reject(ScramError.OTHER_ERROR)
        auth_message = ",".join((self._first.bare, self._server_first, final.without_proof)).encode()
        if not self._secret.proves(auth_message, final.proof):
            return self._reject(ScramError.INVALID_PROOF)
        self.state = State.ANSWERED
        return Challenge(b"v=" + encode(self._secret.signature(auth_message)))

    def _reject(self, error: ScramError) -> Rejected:
        self.state = State.OVER
        wrong = error is ScramError.INVALID_PROOF
        return Rejected(Challenge(f"e={error}".encode()), error.value, self.user, guessed=wrong)
