"""An OAuth access token as a client shows it (RFC 6750), and what is said of one that isn't taken."""

from __future__ import annotations

import enum
import re

from msgspec import Struct

from tlsgate.dialogue.credentials import Credentials, CredentialsError

LONGEST_TOKEN = 16384
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 2.1


class TokenError(enum.StrEnum):
    """Why a token isn't taken (RFC 6750 3.1)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - the word of the RFC
    INSUFFICIENT_SCOPE = "insufficient_scope"


class BearerToken(Struct, frozen=True):
    """An access token, in the characters of RFC 6750. ``authzid``: as whom the client wants to act, "" if not said.

    Nothing says yet whose the token is. Raises CredentialsError.
    """

    token: str
    authzid: str = ""

    def __repr__(self) -> str:
        return f"BearerToken(authzid={self.authzid!r})"

    def __post_init__(self) -> None:
        if len(self.token) > LONGEST_TOKEN:
            raise CredentialsError("token too long")
        if _TOKEN.fullmatch(self.token) is None:
            raise CredentialsError("malformed token")
        if self.authzid:
            Credentials(self.authzid, b"any")

    @property
    def user(self) -> str:
        """Who the client says it is, "" if it doesn't."""
        return self.authzid


class TokenAdvice(Struct, frozen=True):
    """Where a client may get a token, told to one whose token isn't taken: scope, and the URL of RFC 8414's document.

    "": not told.
    """

    scope: str = ""
    openid_configuration: str = ""
