"""What follows from a finding: the fence between credentials nobody has checked and a backend that trusts us."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tlsgate.auth.backend import judge
from tlsgate.auth.judgement import Finding, login_purpose
from tlsgate.config import LoginMode
from tlsgate.dialogue.backend import NoLogin, SameLogin
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused

SHOWN = Credentials("ann", b"secret")
CLIENT = ClientFacts(Endpoint(IPv4Address("203.0.113.7"), 4711), None)


@pytest.mark.parametrize(("found", "login"), list(itertools.product(Finding, LoginMode)))
def test_only_what_is_right_goes_to_a_backend_without_a_login(found: Finding, login: LoginMode) -> None:
    asked = login_purpose(found, SHOWN, login)
    match login:
        case LoginMode.SAME if found is not Finding.UNAVAILABLE:
            assert asked == SameLogin(SHOWN)
        case LoginMode.NONE if found is Finding.RIGHT:
            assert asked == NoLogin()
        case _:
            assert asked == Refused(Refusal.UNAVAILABLE)


def test_who_the_client_is_goes_along() -> None:
    """A backend that trusts us has no other way to learn who sends."""
    assert login_purpose(Finding.UNDECIDED, SHOWN, LoginMode.SAME, CLIENT) == SameLogin(SHOWN, CLIENT)
    assert login_purpose(Finding.RIGHT, SHOWN, LoginMode.NONE, CLIENT) == NoLogin(replace(CLIENT, login="ann"))


@pytest.mark.parametrize("authzid", ["", "ann"])
async def test_the_source_backend_never_finds_anybody_right(authzid: str) -> None:
    """It has no way to know: with login = "none" that would let everybody in."""
    assert await judge(Credentials("ann", b"secret", authzid)) is Finding.UNDECIDED


async def test_the_source_backend_lets_nobody_act_as_somebody_else() -> None:
    assert await judge(Credentials("ann", b"secret", "bob")) == Refused(Refusal.AUTHORIZATION_FAILED)
