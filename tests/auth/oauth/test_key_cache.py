"""The issuer is asked for its keys seldom, by one at a time, and its absence is lived through."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from tests.auth.oauth.issuer import Issuer, fetch, key_set, private_key, public
from tlsgate.auth.oauth.exchange import LARGEST_ANSWER, PATIENCE, FetchFailed
from tlsgate.auth.oauth.jwk import KeySet
from tlsgate.auth.oauth.key_cache import FRESH, KEPT, PAUSE, KeyCache

OLD = public(private_key("ES256"), "old")
NEW = public(private_key("ES256", 1), "new")


def names(keys: KeySet | None) -> list[str | None]:
    assert keys is not None
    return [each.kid for each in keys.keys]


@pytest.fixture
def cache(issuer: Issuer, mock_clock: trio.testing.MockClock) -> KeyCache:
    issuer.publish(OLD)
    return KeyCache(issuer.jwks_url, fetch)


async def test_they_are_fetched_once(issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock) -> None:
    first = await cache.current()
    mock_clock.jump(FRESH - 1)
    assert await cache.current() is first
    assert names(first) == ["old"]
    assert [each.path for each in issuer.requests] == ["/jwks"]


async def test_they_are_fetched_again_after_an_hour(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock
) -> None:
    """A key that its issuer has taken back must not sign for ever."""
    await cache.current()
    issuer.publish(NEW)
    mock_clock.jump(FRESH)
    assert names(await cache.current()) == ["new"]


async def test_a_new_key_is_found_at_once(issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock) -> None:
    await cache.current()
    issuer.publish(OLD, NEW)
    mock_clock.jump(PAUSE)
    assert names(await cache.newer()) == ["old", "new"]


async def test_strangers_can_have_them_fetched_each_half_minute_at_most(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock
) -> None:
    """Else anybody could use us against the issuer."""
    await cache.current()
    for _ in range(20):
        await cache.newer()
        mock_clock.jump(PAUSE / 10)
    assert len(issuer.requests) == 2  # at 0 and 30 s of 57


@pytest.mark.parametrize("first", [True, False])
async def test_one_attempt_serves_all_who_wait(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock, first: bool
) -> None:
    if not first:
        await cache.current()
    mock_clock.jump(PAUSE)
    issuer.publish(NEW)
    issuer.requests.clear()
    issuer.arrived, issuer.held = trio.Event(), trio.Event()
    found: list[KeySet | None] = []

    async def ask() -> None:
        found.append(await (cache.current() if first else cache.newer()))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
        await issuer.arrived.wait()
        issuer.held.set()
    assert [names(each) for each in found] == [["new"]] * 10
    assert len(issuer.requests) == 1


async def test_who_has_keys_does_not_wait_for_newer_ones(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock
) -> None:
    """An issuer that hangs must not hold up logins."""
    seen = await cache.current()
    mock_clock.jump(FRESH)
    issuer.arrived, issuer.held = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.current)
        await issuer.arrived.wait()
        assert await cache.current() is seen
        issuer.held.set()


async def test_who_leaves_does_not_end_the_attempt_that_others_wait_for(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock
) -> None:
    """Else whoever is cut off in the right moment keeps everybody out for PAUSE."""
    issuer.held = trio.Event()
    found: list[KeySet | None] = []

    async def ask() -> None:
        found.append(await cache.current())

    async with trio.open_nursery() as others, trio.open_nursery() as nursery:
        nursery.start_soon(cache.current)
        await issuer.arrived.wait()
        others.start_soon(ask)
        nursery.cancel_scope.cancel()
        issuer.held.set()
    assert names(found[0]) == ["old"]


async def test_a_fault_of_ours_is_no_more_than_trouble(mock_clock: trio.testing.MockClock) -> None:
    """An attempt is nobody's own: what goes wrong in it must not end the process."""

    async def faulty(_: str) -> bytes:
        raise LookupError("token")

    cache = KeyCache("https://id.example.org/jwks", faulty)
    assert await cache.current() is None
    assert cache.trouble == "a fault of ours, LookupError"


async def test_an_issuer_that_hangs_is_given_up(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock
) -> None:
    issuer.held = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(cache.current)
        await issuer.arrived.wait()
        mock_clock.jump(PATIENCE)
    assert await cache.current() is None
    assert cache.trouble == "no answer in time"
    assert len(issuer.requests) == 1
    issuer.held.set()
    mock_clock.jump(PAUSE)
    assert names(await cache.current()) == ["old"]
    assert cache.trouble == ""


async def test_old_keys_count_while_the_issuer_is_away_but_not_for_ever(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock
) -> None:
    seen = await cache.current()
    issuer.status = 503
    for _ in range(23):
        mock_clock.jump(FRESH)
        assert await cache.current() is seen
        assert cache.trouble == "status 503"
    mock_clock.jump(KEPT - 23 * FRESH - 1)
    assert await cache.current() is seen
    mock_clock.jump(1)
    assert await cache.current() is None
    issuer.status = 200
    mock_clock.jump(PAUSE)
    assert names(await cache.current()) == ["old"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>", "is no JWK Set"),
        (key_set(), "holds no key that can check a signature"),
        (key_set({"kty": "oct", "k": "c2VjcmV0"}), "holds no key that can check a signature"),
        (b" " * (LARGEST_ANSWER + 1), "is larger than 256 KiB"),
    ],
)
async def test_old_keys_count_while_the_issuer_publishes_nonsense(
    issuer: Issuer, cache: KeyCache, mock_clock: trio.testing.MockClock, content: bytes, why: str
) -> None:
    seen = await cache.current()
    issuer.content = content
    mock_clock.jump(FRESH)
    assert await cache.current() is seen
    assert cache.trouble == why


async def test_an_issuer_that_was_never_there(mock_clock: trio.testing.MockClock) -> None:
    asked: list[float] = []

    async def refused(_: str) -> bytes:
        asked.append(trio.current_time())
        raise FetchFailed("can't be connected to")

    cache = KeyCache("https://id.example.org/jwks", refused)
    for _ in range(100):
        assert await cache.current() is None
        mock_clock.jump(1)
    assert cache.trouble == "can't be connected to"
    assert len(asked) == math.ceil(100 / PAUSE)
