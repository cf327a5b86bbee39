"""What an exchange comes to when the client shows no password: steps beside ``Challenge`` and ``Credentials``."""

from __future__ import annotations

from msgspec import Struct

from tlsgate.dialogue.challenge import Challenge
from tlsgate.dialogue.credentials import Credentials


class Names(Struct, frozen=True):
    """Who the client is, and as whom it wants to act ("": as itself), within the bounds of ``Credentials``.

    Raises CredentialsError.
    """

    user: str
    authzid: str = ""

    def __post_init__(self) -> None:
        Credentials(self.user, b"any", self.authzid)


class SecretWanted(Names, frozen=True):
    """The exchange goes on once the caller gives it this user's SCRAM secret. Nothing is proven yet."""


class Proven(Names, frozen=True):
    """The client is ``user``: the exchange itself has proven it. Whether it may act as ``authzid`` is still open."""


class Rejected(Struct, frozen=True):
    """The exchange has failed. The client is told why by ``challenge``, answers something, and is then refused.

    ``reason``: for the log. ``user``: the name, where it was shown. ``guessed``: a secret was tried, and is wrong. The
    failure stands before the client answers.
    """

    challenge: Challenge
    reason: str
    user: str | None
    guessed: bool = False
