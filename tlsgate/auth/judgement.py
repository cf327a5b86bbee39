"""What a source says of a login, and what follows from it towards the backend: the one place that decides it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from tlsgate.auth.attempt import Attempt
from tlsgate.auth.master import Master
from tlsgate.auth.stored_secrets import StoredSecret
from tlsgate.auth.user_names import UnfitName
from tlsgate.config import HostPort, LoginMode
from tlsgate.dialogue.backend import NoLogin, SameLogin
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import ABOUT_CREDENTIALS, Refusal, Refused


class Right(Struct, frozen=True):
    """A source has checked what was shown itself. ``user``: who it is.

    ``name``: the user's at the backend, ``server``: the backend, ``pool``: the pool; each where the source says it.
    ``secret``: for the backend, in the place of the one that was shown. ``label``: of the app password that was shown.
    ``weak``: what kind of hash the password has, if that is one that is soon guessed.
    """

    user: str
    name: str = ""
    secret: bytes | None = None
    server: HostPort | None = None
    pool: str = ""
    label: str = ""
    weak: str = ""

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "secret")
        return f"Right({', '.join(shown)})"


class Undecided(Struct, frozen=True):
    """Only the backend's own login can tell, with the client's own credentials."""

    login: Credentials


class Unavailable(Struct, frozen=True):
    """The source should know, and can't tell now. ``reason``: for the log."""

    reason: str = ""


Judgement = Right | Undecided | Unavailable | Refused
Judge = Callable[[Attempt], Awaitable[Judgement]]
Purpose = SameLogin | NoLogin


def login_purpose(
    found: Right | Undecided,
    shown: Credentials | None,
    login: LoginMode,
    name: str,
    client: ClientFacts | None = None,
    opens: Master | StoredSecret | None = None,
) -> Purpose | Refused:
    """What to do at a backend of a pool with this ``login``, which knows the user by ``name``.

    ``shown``: the client's own credentials, None from one that has shown none that a backend could take. ``client``:
    whom to tell the backend of. ``opens``: what lets the user in there instead.

    A backend that isn't shown the user's own secret can't judge it: what no source has found right is refused there. A
    refusal's words are for the log.
    """
    match login, found:
        case LoginMode.SAME, Undecided(own):
            plain = own.user == name and not own.authzid  # most are
            return SameLogin(own if plain else replace(own, user=name, authzid=""), client)
        case LoginMode.SAME, Right(secret=given):
            if given is not None:
                return SameLogin(Credentials(name, given), client)
            if shown is not None:
                return SameLogin(replace(shown, user=name, authzid=""), client)
            return Refused(Refusal.UNAVAILABLE, 'nothing was shown that a backend with login = "same" could take')
        case LoginMode.NONE, Right():
            return NoLogin(client and replace(client, login=name))
        case LoginMode.MASTER, Right() if isinstance(opens, Master):
            return _master_login(name, client, opens)
        case LoginMode.STORED, Right() if isinstance(opens, StoredSecret):
            return SameLogin(opens.login_as(name), client)
        case LoginMode.STORED, Right():
            return Refused(Refusal.CONTACT_ADMIN, "the pool's secrets_file has no secret for this user")
        case _:
            return Refused(Refusal.UNAVAILABLE, "no source can judge a login for this pool")


def _master_login(user: str, client: ClientFacts | None, master: Master) -> SameLogin | Refused:
    try:
        who, act_as = master.login_as(user)
    except UnfitName as unfit:
        return Refused(Refusal.CONTACT_ADMIN, str(unfit))
    return SameLogin(who, client, act_as)


def answer(said: Refused, login: LoginMode) -> Refused:
    """What a backend's refusal is to a client: it isn't to blame for credentials that it hasn't shown."""
    if login not in (LoginMode.MASTER, LoginMode.STORED) or said.reason not in ABOUT_CREDENTIALS:
        return said
    return Refused(Refusal.UNAVAILABLE)
