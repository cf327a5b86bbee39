"""What follows from a finding: the fence between credentials nobody has checked and a backend that trusts us."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address

import pytest
from msgspec.structs import replace

from tests.auth.attempts import attempt
from tlsgate.auth.backend import judge
from tlsgate.auth.judgement import Right, Undecided, answer, login_purpose
from tlsgate.auth.master import Master
from tlsgate.auth.stored_secrets import StoredSecret
from tlsgate.config import LoginMode
from tlsgate.dialogue.backend import NoLogin, SameLogin
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused

SHOWN = Credentials("ann", b"secret")
RIGHT, UNDECIDED = Right("ann"), Undecided(SHOWN)
MASTER = Master("root", "*", b"master's secret")
CLIENT = ClientFacts(Endpoint(IPv4Address("203.0.113.7"), 4711), None)


@pytest.mark.parametrize(("found", "login"), list(itertools.product((RIGHT, UNDECIDED), LoginMode)))
def test_only_what_is_right_goes_to_a_backend_that_cannot_judge_it(found: Right | Undecided, login: LoginMode) -> None:
    """Whoever gets there by a master login reads everybody's mail."""
    asked = login_purpose(found, SHOWN, login, "ann", opens=MASTER)
    match login:
        case LoginMode.SAME:
            assert asked == SameLogin(SHOWN)
        case LoginMode.NONE if found is RIGHT:
            assert asked == NoLogin()
        case LoginMode.MASTER if found is RIGHT:
            assert asked == SameLogin(Credentials("ann*root", b"master's secret"))
        case LoginMode.STORED if found is RIGHT:
            assert isinstance(asked, Refused)
            assert asked.reason is Refusal.CONTACT_ADMIN
        case _:
            assert asked == Refused(Refusal.UNAVAILABLE, "no source can judge a login for this pool")


def test_what_a_source_gives_for_the_backend_goes_there() -> None:
    """An auth_http server knows another name and password for it than the client does."""
    asked = login_purpose(Right("ann", "ann.7", b"inner"), SHOWN, LoginMode.SAME, "ann.7")
    assert asked == SameLogin(Credentials("ann.7", b"inner"))


def test_a_secret_alone_goes_with_the_name_that_the_pool_knows() -> None:
    """Else the auth server's password is shown there for a user who isn't one, and each login fails."""
    asked = login_purpose(Right("ann@example.org", secret=b"inner"), SHOWN, LoginMode.SAME, "ann")
    assert asked == SameLogin(Credentials("ann", b"inner"))


def test_nobody_reads_it_there() -> None:
    """A fault's text, or a log, may show what was found."""
    assert repr(Right("ann", "ann.7", b"inner", pool="p")) == (
        "Right(user='ann', name='ann.7', server=None, pool='p', label='', weak='')"
    )


def test_a_name_alone_goes_with_the_secret_that_was_shown() -> None:
    assert login_purpose(Right("ann", "ann.7"), SHOWN, LoginMode.SAME, "ann.7") == SameLogin(
        Credentials("ann.7", b"secret")
    )


def test_nobody_is_logged_in_with_nothing_to_show() -> None:
    """A token or a certificate is no password: a backend that wants the user's own must not be reached without it."""
    asked = login_purpose(RIGHT, None, LoginMode.SAME, "ann")
    assert isinstance(asked, Refused)
    assert asked.reason is Refusal.UNAVAILABLE


def test_who_the_client_is_goes_along() -> None:
    """A backend that trusts us has no other way to learn who sends."""
    assert login_purpose(UNDECIDED, SHOWN, LoginMode.SAME, "ann", CLIENT) == SameLogin(SHOWN, CLIENT)
    assert login_purpose(RIGHT, SHOWN, LoginMode.NONE, "ann", CLIENT) == NoLogin(replace(CLIENT, login="ann"))


def test_a_stored_secret_lets_in_whom_a_source_has_found_right() -> None:
    stored = StoredSecret("ann.7", b"inner")
    asked = login_purpose(RIGHT, SHOWN, LoginMode.STORED, "ann", CLIENT, stored)
    assert asked == SameLogin(Credentials("ann.7", b"inner"), CLIENT)
    refused = login_purpose(UNDECIDED, SHOWN, LoginMode.STORED, "ann", CLIENT, stored)
    assert isinstance(refused, Refused)


def test_without_its_secret_there_is_no_master_login() -> None:
    assert login_purpose(RIGHT, SHOWN, LoginMode.MASTER, "ann") == Refused(
        Refusal.UNAVAILABLE, "no source can judge a login for this pool"
    )


def test_without_a_separator_the_user_is_whom_the_master_acts_as() -> None:
    asked = login_purpose(RIGHT, SHOWN, LoginMode.MASTER, "ann", CLIENT, Master("root", "", b"m"))
    assert isinstance(asked, SameLogin)
    assert (asked.credentials.user, asked.credentials.secret, asked.act_as) == ("root", b"m", "ann")
    assert asked.client == CLIENT


@pytest.mark.parametrize("user", ["ann*root", "*", "ann*", "*root"])
def test_a_name_that_holds_the_separator_opens_no_mailbox(user: str) -> None:
    """A backend would cut it at another place than we have joined it: "ann*bob" would be ann's mail.

    The secret was right: whoever is called so must not be banned for it.
    """
    refused = login_purpose(Right(user), Credentials(user, b"secret"), LoginMode.MASTER, user, opens=MASTER)
    assert refused == Refused(Refusal.CONTACT_ADMIN, "the user name holds the master separator")
    assert login_purpose(Right(user), Credentials(user, b"secret"), LoginMode.SAME, user, opens=MASTER) == SameLogin(
        Credentials(user, b"secret")
    )


@pytest.mark.parametrize("reason", list(Refusal))
def test_a_client_is_not_to_blame_for_a_masters_password(reason: Refusal) -> None:
    """A wrong one would else ban everybody who logs in."""
    said = Refused(reason, "words")
    assert answer(said, LoginMode.SAME) is said
    about_credentials = reason in (Refusal.AUTHENTICATION_FAILED, Refusal.AUTHORIZATION_FAILED, Refusal.EXPIRED)
    for mode in (LoginMode.MASTER, LoginMode.STORED):
        assert answer(said, mode) == (Refused(Refusal.UNAVAILABLE) if about_credentials else said)


@pytest.mark.parametrize("authzid", ["", "ann"])
async def test_the_source_backend_never_finds_anybody_right(authzid: str) -> None:
    """It has no way to know: with login = "none" that would let everybody in."""
    shown = Credentials("ann", b"secret", authzid)
    assert await judge(attempt(shown)) == Undecided(shown)


async def test_the_source_backend_lets_nobody_act_as_somebody_else() -> None:
    assert await judge(attempt(Credentials("ann", b"secret", "bob"))) == Refused(Refusal.AUTHORIZATION_FAILED)
