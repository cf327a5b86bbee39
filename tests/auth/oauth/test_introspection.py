"""Opaque tokens: the issuer says whether they are good, is asked as it wants to be, and not more often than needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from tests.auth.oauth.issuer import AUDIENCE, EXPECTED, ISSUER, NOW, Issuer, post, shown
from tlsgate.auth.oauth.claims import EXPIRED, SKEW
from tlsgate.auth.oauth.client import Client
from tlsgate.auth.oauth.exchange import LARGEST_ANSWER, PATIENCE
from tlsgate.auth.oauth.introspection import KEPT, MOST_AT_ONCE, Introspection, VerdictCache
from tlsgate.auth.oauth.once_good import REMEMBERED
from tlsgate.auth.oauth.token import AccessToken
from tlsgate.auth.oauth.verdict import Invalid, Unavailable, Valid, Verdict

CLIENT = Client("gate", "secret")
ACTIVE: dict[str, Any] = {"active": True, "aud": AUDIENCE, "exp": NOW + 3600, "email": "ann@example.org"}
ANN = Valid("ann@example.org", NOW + 3600)
TOKEN = AccessToken("opaque")


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def check(issuer: Issuer, mock_clock: trio.testing.MockClock, clock: Clock) -> Introspection:
    issuer.answers["opaque"] = ACTIVE
    return Introspection(issuer.introspection_url, CLIENT, post, EXPECTED, clock)


async def test_a_good_one(issuer: Issuer, check: Introspection) -> None:
    assert await check.judge(TOKEN) == ANN
    (request,) = issuer.requests
    assert request.path == "/introspect"
    assert request.form == {"token": ["opaque"], "token_type_hint": ["access_token"]}
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("text", ["a&active=true", "a=b", "a%00", "+/=", "a#b?c;d", "&token=opaque", "a+b"])
async def test_a_token_is_one_value_of_the_form(issuer: Issuer, check: Introspection, text: str) -> None:
    """Else whoever shows it writes the rest of the question, too."""
    issuer.answers[text] = ACTIVE
    assert await check.judge(shown(text)) == ANN
    assert issuer.requests[0].form["token"] == [text]


async def test_one_that_is_not_active(check: Introspection) -> None:
    assert await check.judge(shown("unknown")) == Invalid("not active")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "https://other.example.org"}, "for another audience"),
        ({"aud": None}, "for another audience"),
        ({"iss": "https://other.example.org"}, "from another issuer"),
        ({"iss": None}, "from another issuer"),
        ({"exp": NOW - SKEW}, "expired"),
        ({"exp": None}, "without a time of expiry"),
        ({"nbf": NOW + SKEW + 1}, "not valid yet"),
        ({"cnf": {"x5t#S256": "x"}}, "bound to a key of its owner"),
        ({"email": None, "username": "ann"}, "without the claim that names the user"),
        ({"email": "ann\r\nx"}, "of a user who can't be one"),
    ],
)
async def test_an_active_one_that_is_not_for_us(
    issuer: Issuer, check: Introspection, changes: dict[str, object], reason: str
) -> None:
    issuer.answers["opaque"] = ACTIVE | changes
    assert await check.judge(TOKEN) == Invalid(reason)


async def test_an_audience_must_be_told(issuer: Issuer, check: Introspection) -> None:
    """A token that was shown to another service first is active, too."""
    issuer.answers["opaque"] = {"active": True, "email": "ann@example.org"}
    assert await check.judge(TOKEN) == Invalid("for another audience")


async def test_issuer_and_expiry_need_not_be_told(issuer: Issuer, check: Introspection) -> None:
    issuer.answers["opaque"] = {"active": True, "aud": [AUDIENCE], "email": "ann"}
    assert await check.judge(TOKEN) == Valid("ann", NOW + KEPT)
    issuer.answers["other"] = ACTIVE | {"iss": ISSUER}
    assert await check.judge(AccessToken("other")) == ANN


# -- how often it is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["opaque", "unknown"])
async def test_a_verdict_is_kept_for_a_minute(issuer: Issuer, check: Introspection, clock: Clock, text: str) -> None:
    first = await check.judge(AccessToken(text))
    clock.time += KEPT - 1
    assert await check.judge(AccessToken(text)) == first
    assert len(issuer.requests) == 1
    issuer.answers[text] = {"active": text == "unknown"}
    clock.time += 1
    assert await check.judge(AccessToken(text)) != first
    assert len(issuer.requests) == 2


async def test_one_that_was_good_has_expired_whatever_the_issuer_says(
    issuer: Issuer, check: Introspection, clock: Clock
) -> None:
    """Most say no more than that it isn't active, and a phone that comes back with it would be counted for a guess."""
    assert await check.judge(TOKEN) == ANN
    issuer.answers["opaque"] = {"active": False}
    clock.time += KEPT
    assert await check.judge(TOKEN) == Invalid(EXPIRED)
    assert await check.judge(AccessToken("another")) == Invalid("not active")
    clock.time += REMEMBERED
    assert await check.judge(TOKEN) == Invalid("not active")


async def test_a_verdict_is_not_kept_longer_than_the_token_is_good(
    issuer: Issuer, check: Introspection, clock: Clock
) -> None:
    issuer.answers["opaque"] = ACTIVE | {"exp": NOW + 10}
    assert await check.judge(TOKEN) == Valid("ann@example.org", NOW + 10)
    clock.time += 10
    issuer.answers["opaque"] = {"active": False}
    assert await check.judge(TOKEN) == Invalid(EXPIRED)


async def test_a_clock_that_is_set_back_does_not_keep_it(issuer: Issuer, check: Introspection, clock: Clock) -> None:
    await check.judge(TOKEN)
    clock.time -= 3600
    await check.judge(TOKEN)
    assert len(issuer.requests) == 2


async def test_an_issuer_that_cannot_say_is_asked_again(issuer: Issuer, check: Introspection) -> None:
    issuer.status = 503
    assert await check.judge(TOKEN) == Unavailable("the issuer: status 503")
    issuer.status = 200
    assert await check.judge(TOKEN) == ANN


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = VerdictCache(most=3)
    for number in range(10):
        cache.put(AccessToken(str(number)), ANN, NOW)
        assert len(cache) <= 3
        assert cache.get(AccessToken("0"), NOW) == ANN
    assert cache.get(AccessToken("9"), NOW) == ANN
    assert cache.get(AccessToken("5"), NOW) is None


def test_the_cache_is_keyed_by_what_no_other_process_can_make_of_a_token() -> None:
    """Tokens, or plain hashes of them, in a dump of memory could be used, or searched for."""
    caches = VerdictCache(), VerdictCache()
    for each in caches:
        each.put(TOKEN, ANN, NOW)
    assert caches[0]._kept.keys().isdisjoint(caches[1]._kept.keys())


# -- an issuer that answers badly, or not at all ---------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "no JSON object"),
        (b"<html>", "no JSON object"),
        (b"[]", "no JSON object"),
        (b'{"active":' + b"[" * 100_000, "no JSON object"),
        (b'{"active":true,"email":"\xff"}', "no JSON object"),
        (b"{}", 'no "active"'),
        ({"active": "true"}, 'no "active"'),
        ({"active": 1}, 'no "active"'),
        ({"active": None, "aud": AUDIENCE, "email": "ann"}, 'no "active"'),
        (b" " * (LARGEST_ANSWER + 1), "too large"),
    ],
)
async def test_nonsense_is_no_verdict(issuer: Issuer, check: Introspection, answer: object, reason: str) -> None:
    issuer.answers["opaque"] = answer
    found = await check.judge(TOKEN)
    assert isinstance(found, Unavailable)
    assert reason in found.reason


async def test_an_issuer_that_does_not_know_us(issuer: Issuer, check: Introspection) -> None:
    """Our fault, not the user's."""
    issuer.client = "Basic other"
    assert await check.judge(TOKEN) == Unavailable("the issuer: status 401")


async def test_an_issuer_that_hangs_is_given_up(
    issuer: Issuer, check: Introspection, mock_clock: trio.testing.MockClock
) -> None:
    issuer.held = trio.Event()
    found: list[Verdict] = []

    async def ask() -> None:
        found.append(await check.judge(TOKEN))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await issuer.arrived.wait()
        mock_clock.jump(PATIENCE)
    assert found == [Unavailable("the issuer: no answer in time")]


async def test_questions_under_way_are_bounded(mock_clock: trio.testing.MockClock, clock: Clock) -> None:
    """A flood of tokens must not become a flood of connections; who waits too long isn't refused."""
    under_way = most = 0

    async def hanging(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await trio.sleep_forever()
        return b""

    check = Introspection("https://id.example.org/", CLIENT, hanging, EXPECTED, clock)
    found: list[Verdict] = []

    async def ask(number: int) -> None:
        found.append(await check.judge(AccessToken(str(number))))

    async with trio.open_nursery() as nursery:
        for number in range(2 * MOST_AT_ONCE):
            nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(PATIENCE)
    assert most == MOST_AT_ONCE
    assert found == [Unavailable("the issuer: no answer in time")] * (2 * MOST_AT_ONCE)
