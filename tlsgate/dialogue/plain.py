"""PLAIN and LOGIN, the mechanisms that show the password itself."""

from __future__ import annotations

from tlsgate.dialogue.challenge import Challenge, SaslError
from tlsgate.dialogue.credentials import Credentials, CredentialsError, credentials, readable_user


class Plain:
    """PLAIN: authzid NUL authcid NUL passwd (RFC 4616)."""

    def __init__(self) -> None:
        self.user: str | None = None

    def start(self, initial: bytes | None) -> Challenge | Credentials:
        """As of an Exchange."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Credentials:
        """As of an Exchange."""
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
        """As of an Exchange."""
        return Challenge(b"Username:") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Challenge | Credentials:
        """As of an Exchange."""
        if self._user is None:
            self._user = response
            self.user = readable_user(response)
            return Challenge(b"Password:")
        return _credentials(self._user, response)


def _credentials(user: bytes, secret: bytes, authzid: bytes = b"") -> Credentials:
    try:
        return credentials(user, secret, authzid)
    except CredentialsError as error:
        raise SaslError(str(error)) from None
