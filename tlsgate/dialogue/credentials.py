"""What a client says about who it is: values that can't hold what a line-based backend would take for a command."""

from __future__ import annotations

import re

from msgspec import Struct

LONGEST_USER = 512
LONGEST_SECRET = 4096
# C0, DEL, C1 and Unicode's line ends: what any server or log reader could take for the end of a line.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class CredentialsError(ValueError):
    """Credentials that can't be carried to a backend. The text says why and never shows the secret."""


class Credentials(Struct, frozen=True):
    """A user name and a secret, free of NUL, CR and LF by construction.

    ``user``: authentication identity, without control characters. ``secret``: octets as the client sent them.
    ``authzid``: identity to act as, "" for the user's own (RFC 4616).
    Raises CredentialsError when a value is empty, too long or not carriable.
    """

    user: str
    secret: bytes
    authzid: str = ""

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, authzid={self.authzid!r})"

    def __post_init__(self) -> None:
        if not self.user.strip():
            raise CredentialsError("empty user name")
        if len(self.user) > LONGEST_USER or len(self.authzid) > LONGEST_USER:
            raise CredentialsError("user name too long")
        if _FORBIDDEN.search(self.user) or _FORBIDDEN.search(self.authzid):
            raise CredentialsError("control character in user name")
        if not self.secret:
            raise CredentialsError("empty password")
        if len(self.secret) > LONGEST_SECRET:
            raise CredentialsError("password too long")
        if b"\0" in self.secret or b"\r" in self.secret or b"\n" in self.secret:
            raise CredentialsError("control character in password")


def readable_user(user: bytes) -> str | None:
    """A name from the wire as an event may carry it: at most LONGEST_USER characters, None where none can be read.

    A control character tells that more came than a name: a whole response of PLAIN as LOGIN's user has the password.
    """
    name = user.decode(errors="replace")
    return None if not name.strip() or _FORBIDDEN.search(name) else name[:LONGEST_USER]


def credentials(user: bytes, secret: bytes, authzid: bytes = b"") -> Credentials:
    """Credentials from octets; user names are UTF-8. Raises CredentialsError."""
    try:
        return Credentials(user.decode(), secret, authzid.decode())
    except UnicodeDecodeError:
        raise CredentialsError("user name is not UTF-8") from None
