"""How much a user may send."""

from __future__ import annotations

import pytest

from tests.admission.clock import Clock
from tlsgate.config import Rate
from tlsgate.mail.quotas import TOO_MANY_MESSAGES, TOO_MANY_RECIPIENTS, Quotas
from tlsgate.state.memory import Memory


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quotas(clock: Clock) -> Quotas:
    return Quotas(Memory(clock), Rate(2, 60.0), Rate(5, 60.0))


async def test_messages_within_their_rate(quotas: Quotas, clock: Clock) -> None:
    assert [await quotas.message("ann") for _ in range(3)] == [True, True, False]
    clock.now += 60.0
    assert await quotas.message("ann")


async def test_recipients_are_counted_as_a_whole(quotas: Quotas) -> None:
    """A refused batch that counts would shut out the smaller one behind it."""
    assert await quotas.recipients("ann", 4)
    assert not await quotas.recipients("ann", 2)
    assert await quotas.recipients("ann")
    assert not await quotas.recipients("ann")


async def test_messages_and_recipients_and_users_are_apart(quotas: Quotas) -> None:
    for _ in range(2):
        assert await quotas.message("ann")
    assert await quotas.recipients("ann", 5)
    assert await quotas.message("bob")
    assert await quotas.recipients("bob", 5)


async def test_another_spelling_is_no_other_user(quotas: Quotas) -> None:
    """Else a stolen password sends as much as there are ways to write the name."""
    assert await quotas.message("ann@example.org")
    assert await quotas.message("ANN@Example.org")
    assert not await quotas.message("Ann@example.org")


async def test_rates_hold_over_all_sessions(clock: Clock) -> None:
    """Each session may have its own Quotas; what counts is the store."""
    store = Memory(clock)
    for _ in range(2):
        assert await Quotas(store, Rate(2, 60.0), Rate(5, 60.0)).message("ann")
    assert not await Quotas(store, Rate(2, 60.0), Rate(5, 60.0)).message("ann")


def test_a_client_is_told_to_come_again() -> None:
    """A 5xx would bounce the mail of somebody who only has to wait."""
    assert [each.code // 100 for each in (TOO_MANY_MESSAGES, TOO_MANY_RECIPIENTS)] == [4, 4]
    assert [each.enhanced for each in (TOO_MANY_MESSAGES, TOO_MANY_RECIPIENTS)] == ["4.7.1", "4.7.1"]
