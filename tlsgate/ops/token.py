"""The token that opens the admin API: one line in a file."""

from __future__ import annotations

import hmac
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

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
        # A pipe is opened without waiting for its writer, to be refused.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise TokenFault("is no file")
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise TokenFault(str(error.strerror)) from None
    if len(data) > _LARGEST:
        raise TokenFault(f"is larger than {_LARGEST} octets")
    secret = data.strip()
    if not _TOKEN.fullmatch(secret):
        raise TokenFault("holds no token, which is one line of 16 or more visible ASCII characters")
    return Token(secret.decode(), bool(mode & stat.S_IROTH))
