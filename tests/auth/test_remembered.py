"""What was found right a moment ago isn't asked again, and whatever else is."""

from __future__ import annotations

import gc
from ipaddress import IPv4Address

import pytest
from msgspec.structs import replace

from tests.auth.attempts import CALLER, attempt
from tlsgate.auth.attempt import Attempt, Caller, Secured
from tlsgate.auth.certificate_facts import CertificateFacts
from tlsgate.auth.judgement import Judgement, Right, Unavailable, Undecided
from tlsgate.auth.remembered import remembered
from tlsgate.auth.success_cache import SuccessCache
from tlsgate.config import HostPort
from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused, Shown
from tlsgate.dialogue.proofs import Proven

ANN = Credentials("ann", b"secret")
RIGHT = Right("ann", server=HostPort("192.0.2.1", 143), pool="other", label="phone", weak="MD5-CRYPT")


class Judging:
    """A judge that says one thing, and how often it was asked."""

    def __init__(self, found: Judgement) -> None:
        self.found = found
        self.asked = 0
        self.cache: SuccessCache[Right] = SuccessCache(60.0, b"k" * 32, lambda: 0.0)

    async def __call__(self, tried: Attempt) -> Judgement:
        self.asked += 1
        return self.found

    async def twice(self, shown: Shown = ANN, first: Caller = CALLER, second: Caller = CALLER) -> int:
        """How often it is asked for two logins."""
        judge = remembered(self, self.cache, None)
        for caller in (first, second):
            assert await judge(attempt(shown, caller=caller)) == self.found
        return self.asked


async def test_what_is_right_is_asked_about_once_and_stays_what_it_is() -> None:
    """Server, pool and label too: a second login must not end elsewhere."""
    assert await Judging(RIGHT).twice() == 1


@pytest.mark.parametrize(
    "found",
    [Refused(Refusal.AUTHENTICATION_FAILED), Refused(Refusal.UNAVAILABLE), Unavailable("away"), Undecided(ANN)],
)
async def test_only_what_is_right_is_remembered(found: Judgement) -> None:
    """A password that the backend judges isn't known to be right; a refusal may be over."""
    assert await Judging(found).twice() == 2


@pytest.mark.parametrize("shown", [BearerToken("token", "ann"), Proven("ann")])
async def test_only_passwords_are_remembered(shown: Shown) -> None:
    """A token has an end of its own, and a proof is of one connection."""
    assert await Judging(Right("ann")).twice(shown) == 2


async def test_another_client_is_asked_about() -> None:
    assert await Judging(RIGHT).twice(second=Caller(IPv4Address("192.0.2.8"))) == 2


async def test_a_certificate_may_be_what_was_found_right() -> None:
    """An authentication server is told of it: its word isn't for who comes from there without one."""
    facts = CertificateFacts("CN=ann", "CN=us", "01", "00")
    having = replace(CALLER, tls=Secured("TLSv1.3", "TLS_AES_128_GCM_SHA256", True, facts))
    without = replace(CALLER, tls=Secured("TLSv1.3", "TLS_AES_128_GCM_SHA256", True))
    assert await Judging(RIGHT).twice(first=having, second=without) == 2
    assert await Judging(RIGHT).twice(first=without, second=without) == 1


@pytest.mark.parametrize("found", [Right("ann", "ann.old"), Right("ann", secret=b"the backend's own")])
async def test_what_an_auth_server_says_of_the_login_there_is_asked_anew(found: Right) -> None:
    """It may have moved the user since."""
    assert await Judging(found).twice() == 2


async def test_no_secret_is_kept_by_it() -> None:
    """The heap of a process that has crashed must not hold the passwords of all who came in the last minutes."""
    judging = Judging(Right("ann", "ann.old", b"the backend's own"))
    assert await judging.twice() == 2
    assert len(judging.cache) == 0
    held = [each for each in gc.get_referents(judging.cache) if isinstance(each, bytes)]
    assert b"the backend's own" not in held


async def test_what_has_changed_while_it_was_judged_is_not_remembered() -> None:
    """The check began with the old file."""
    judging = Judging(RIGHT)

    async def judge(tried: Attempt) -> Judgement:
        judging.cache.clear()
        return await judging(tried)

    again = remembered(judge, judging.cache, None)
    await again(attempt(ANN))
    await again(attempt(ANN))
    assert judging.asked == 2


async def test_the_files_are_looked_at_before_what_is_remembered() -> None:
    judging = Judging(RIGHT)

    async def follow() -> None:
        if judging.asked:
            judging.cache.clear()
            judging.found = Refused(Refusal.AUTHENTICATION_FAILED)

    judge = remembered(judging, judging.cache, follow)
    assert await judge(attempt(ANN)) == RIGHT
    assert isinstance(await judge(attempt(ANN)), Refused)
