"""What a source says of credentials, and what follows from it towards the backend: the one place that decides it."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tlsgate.config import LoginMode
from tlsgate.dialogue.backend import NoLogin, SameLogin
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused


class Finding(enum.Enum):
    """What a source has found that doesn't refuse."""

    RIGHT = enum.auto()  # it has checked the secret itself
    UNDECIDED = enum.auto()  # only the backend's own login can tell
    UNAVAILABLE = enum.auto()  # it should know, and can't tell now


Judge = Callable[[Credentials], Awaitable[Finding | Refused]]


def login_purpose(
    found: Finding, shown: Credentials, login: LoginMode, client: ClientFacts | None = None
) -> SameLogin | NoLogin | Refused:
    """What to do at a backend of a pool with this ``login``; ``client``: whom to tell it of.

    A backend that isn't asked for a login can't judge one: what no source has found right is refused there.
    """
    match login:
        case _ if found is Finding.UNAVAILABLE:
            return Refused(Refusal.UNAVAILABLE)
        case LoginMode.SAME:
            return SameLogin(shown, client)
        case LoginMode.NONE if found is Finding.RIGHT:
            return NoLogin(client and replace(client, login=shown.user))
        case _:
            return Refused(Refusal.UNAVAILABLE)
