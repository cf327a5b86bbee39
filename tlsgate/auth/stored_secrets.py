"""The secrets that users have at a pool's backends, for those whom a source of ours has let in by another one.

A line is "user:backend-user:secret". The user is written as it is known here, in its own case: who was taken for
somebody else would read his mail. An empty backend user is the name that the backend would see anyway. The secret is
the rest of the line, blanks and colons included. A line that begins with "#" is a comment.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from tlsgate.auth.followed import UnusableFile, read_file, stamp_of
from tlsgate.auth.line_table import Lines, LineTable
from tlsgate.dialogue.credentials import Credentials, CredentialsError
from tlsgate.secret_file import CLOSE_IT, open_to_all

_OTHERS = stat.S_IRWXO | stat.S_IWGRP


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """``user``: at the backend, "" for the name that it would see anyway."""

    user: str
    secret: bytes = field(repr=False)

    def login_as(self, name: str) -> Credentials:
        """The credentials for the backend, of a user whose name there is ``name`` if nothing else is stored."""
        return Credentials(self.user or name, self.secret)


class StoredSecrets(Lines, frozen=True):
    """A file as it was read."""

    def find(self, user: str) -> StoredSecret | None:
        """What is stored for ``user``."""
        line = self.table.find(user.encode())
        if line is None:
            return None
        _, at_backend, secret = line.split(b":", 2)
        return StoredSecret(at_backend.decode(), secret)


def load(path: Path) -> StoredSecrets:
    """Read the whole file. A faulty line is left out. Raises UnusableFile. Not for the trio loop.

    A master's password that all can read is a remark; many people's secrets aren't even used then, nor where a group
    may write who is who.
    """
    try:
        data, facts = read_file(path)
    except OSError as error:
        raise UnusableFile(str(error.strerror)) from None
    if facts.st_mode & _OTHERS or open_to_all(facts):
        raise UnusableFile(f"is open to others (mode {stat.S_IMODE(facts.st_mode):04o}); {CLOSE_IT}")
    return StoredSecrets(path, LineTable(data, _check, _user), len(data), stamp_of(facts))


def _user(line: bytes) -> bytes:
    return line.partition(b":")[0]


def _check(line: bytes) -> bytes:
    """The user of a good line, b"" if there is none. Raises ValueError, which shows nothing of the line."""
    if not line.strip() or line.startswith(b"#"):
        return b""
    parts = line.split(b":", 2)
    if len(parts) != 3:
        raise ValueError("it isn't user:backend-user:secret")
    user, at_backend, secret = parts
    try:
        Credentials(user.decode(), secret)
        Credentials(at_backend.decode() or "any", secret)
    except UnicodeDecodeError:
        raise ValueError("its user isn't UTF-8") from None
    except CredentialsError as fault:
        raise ValueError(f"nobody can log in so: {fault}") from None
    return user
