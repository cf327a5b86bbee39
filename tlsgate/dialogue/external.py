"""EXTERNAL: the client is who its TLS certificate says (RFC 4422 A)."""

from __future__ import annotations

from tlsgate.dialogue.challenge import Challenge, SaslError
from tlsgate.dialogue.credentials import CredentialsError
from tlsgate.dialogue.proofs import Proven


class External:
    """One exchange. ``user``: whom the client's verified certificate names."""

    def __init__(self, user: str) -> None:
        self.user: str | None = user
        self._user = user

    def start(self, initial: bytes | None) -> Challenge | Proven:
        """Begin, with the client's initial response if it sent one. Raises SaslError."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Proven:
        """``response``: the identity to act as, empty for the certificate's own. Raises SaslError."""
        try:
            return Proven(self._user, response.decode())
        except UnicodeDecodeError:
            raise SaslError("user name is not UTF-8") from None
        except CredentialsError as error:
            raise SaslError(str(error)) from None
