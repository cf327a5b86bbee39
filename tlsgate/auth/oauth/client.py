"""Who we are to an issuer whom we ask about tokens: a client's name and secret."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus

from tlsgate.secret_file import UnusableSecret, read_secret_file

_LARGEST = 4096
_VISIBLE = re.compile(rb"[ -~]+")


class SecretFault(Exception):
    """A secret's file that can't be used. The text says why, and nothing of what it holds."""


@dataclass(frozen=True, slots=True)
class Client:
    """``open_to_all``: everybody on the host may read the secret's file."""

    name: str
    secret: str = field(repr=False)
    open_to_all: bool = False

    def authorization(self) -> str:
        """The header's value: Basic, of both parts as in a form (RFC 6749 2.3.1)."""
        pair = f"{quote_plus(self.name)}:{quote_plus(self.secret)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


def read_client(name: str, path: Path) -> Client:
    """The client whose secret is the file's one line. Raises SecretFault. Reads a file: not for the trio loop."""
    try:
        file = read_secret_file(path, _LARGEST)
    except UnusableSecret as fault:
        raise SecretFault(str(fault)) from None
    secret = file.data.strip()
    if not _VISIBLE.fullmatch(secret):
        raise SecretFault("holds no secret, which is one line of visible ASCII characters")
    return Client(name, secret.decode(), file.open_to_all)
