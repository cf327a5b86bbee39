"""The token that opens the admin API: one line in a file."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path

from tlsgate.secret_file import UnusableSecret, read_secret_file

_LARGEST = 1024
# What a header can hold (RFC 6750 2.1 has less), and too much to guess.
_TOKEN = re.compile(rb"[!-~]{16,}")


class TokenFault(Exception):
    """A token file that can't be used. The text says why, and nothing of what it holds."""


@dataclass(frozen=True, slots=True)
class Token:
    """``secret``: ASCII. ``open_to_all``: everybody on the host may read its file."""

    secret: str = field(repr=False)
    open_to_all: bool = False

    def matches(self, authorization: str) -> bool:
        """Whether an Authorization header's value shows it (RFC 6750 2.1)."""
        scheme, _, shown = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), self.secret.encode())


def read_token(path: Path) -> Token:
    """The file's token, without the space around it. Raises TokenFault. Reads a file: not for the trio loop."""
    try:
        file = read_secret_file(path, _LARGEST)
    except UnusableSecret as fault:
        raise TokenFault(str(fault)) from None
    secret = file.data.strip()
    if not _TOKEN.fullmatch(secret):
        raise TokenFault("holds no token, which is one line of 16 or more visible ASCII characters")
    return Token(secret.decode(), file.open_to_all)
