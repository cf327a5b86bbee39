"""Mail users whose secrets need quoting wherever somebody forgot to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.system.postfix import DOMAIN

SECRET = 'p"a\\ss %word'
UTF8_SECRET = 'schlüssel"ünd'
WRONG = 'wrong-"guess\\7f3a'


@dataclass(frozen=True, slots=True)
class User:
    """A mail user; the address is the name."""

    name: str
    secret: str

    @property
    def plain(self) -> bytes:
        """The SASL PLAIN message (RFC 4616)."""
        return f"\0{self.name}\0{self.secret}".encode()


def write_users(path: Path, count: int) -> list[User]:
    """Write a passwd-file of ``count`` users, each with an empty mailbox of its own; the last has UTF8_SECRET."""
    secrets = [SECRET] * (count - 1) + [UTF8_SECRET]
    users = [User(f"user{number:03}@{DOMAIN}", secret) for number, secret in enumerate(secrets)]
    path.write_text("".join(f"{user.name}:{{PLAIN}}{user.secret}\n" for user in users), encoding="utf-8")
    path.chmod(0o644)
    return users
