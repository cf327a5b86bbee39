"""An access token as a client shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tlsgate.dialogue.access_token import LONGEST_TOKEN

# RFC 6749 A.12 without the space, which no header and no SASL mechanism can carry in one.
_VISIBLE = re.compile(rb"[!-~]+")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """``text``: visible ASCII, 1 to LONGEST_TOKEN octets."""

    text: str = field(repr=False)

    @property
    def is_signed(self) -> bool:
        """Whether it has the form of a JWS (RFC 7515 7.1), so of a JWT that can be checked here."""
        header, *others = self.text.split(".")
        return len(others) == 2 and header.startswith(("ey", "ew"))  # "{" and a quote or space, in base64


def access_token(secret: bytes) -> AccessToken | None:
    """The token that a client has shown; None for what can't be one."""
    if len(secret) > LONGEST_TOKEN or not _VISIBLE.fullmatch(secret):
        return None
    return AccessToken(secret.decode())
