"""What a source says of credentials, and what follows from it towards the backend: the one place that decides it."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tlsgate.auth.master import Master, UnfitName
from tlsgate.config import LoginMode
from tlsgate.dialogue.backend import NoLogin, SameLogin
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import ABOUT_CREDENTIALS, Refusal, Refused


class Finding(enum.Enum):
    """What a source has found that doesn't refuse."""

    RIGHT = enum.auto()  # it has checked the secret itself
    UNDECIDED = enum.auto()  # only the backend's own login can tell
    UNAVAILABLE = enum.auto()  # it should know, and can't tell now


Judge = Callable[[Credentials], Awaitable[Finding | Refused]]


def login_purpose(
    found: Finding,
    shown: Credentials,
    login: LoginMode,
    client: ClientFacts | None = None,
    master: Master | None = None,
) -> SameLogin | NoLogin | Refused:
    """What to do at a backend of a pool with this ``login`` and ``master``; ``client``: whom to tell it of.

    A backend that isn't shown the user's own secret can't judge it: what no source has found right is refused there.
    A refusal's words are for the log.
    """
    match login:
        case _ if found is Finding.UNAVAILABLE:
            return Refused(Refusal.UNAVAILABLE)
        case LoginMode.SAME:
            return SameLogin(shown, client)
        case LoginMode.NONE if found is Finding.RIGHT:
            return NoLogin(client and replace(client, login=shown.user))
        case LoginMode.MASTER if found is Finding.RIGHT and master is not None:
            return _master_login(shown.user, client, master)
        case _:
            return Refused(Refusal.UNAVAILABLE)


def _master_login(user: str, client: ClientFacts | None, master: Master) -> SameLogin | Refused:
    try:
        who, act_as = master.login_as(user)
    except UnfitName as unfit:
        return Refused(Refusal.AUTHENTICATION_FAILED, str(unfit))
    return SameLogin(who, client, act_as)


def answer(said: Refused, login: LoginMode) -> Refused:
    """What a backend's refusal is to a client: it isn't to blame for credentials that it hasn't shown."""
    if login is not LoginMode.MASTER or said.reason not in ABOUT_CREDENTIALS:
        return said
    return Refused(Refusal.UNAVAILABLE)
