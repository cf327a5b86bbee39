"""What is remembered of tokens that were good: for how long, of how many, and that it is none of them."""

from __future__ import annotations

import gc

from tlsgate.auth.oauth.once_good import REMEMBERED, OnceGood
from tlsgate.auth.oauth.token import AccessToken

OLD = AccessToken("one that was good")


def test_for_a_day_since_it_was_last_good() -> None:
    once = OnceGood()
    assert not once.was(OLD, 0.0)
    once.note(OLD, 0.0)
    once.note(OLD, 10.0)
    assert once.was(OLD, REMEMBERED + 9.0)
    assert not once.was(OLD, REMEMBERED + 10.0)
    assert not once.was(AccessToken("another"), 10.0)


def test_of_so_many() -> None:
    """Whoever has an account gets as many tokens as they like: memory mustn't grow by them."""
    once = OnceGood(most=2)
    for number in range(3):
        once.note(AccessToken(f"token {number}"), 0.0)
        once.note(OLD, 0.0)
    assert [once.was(AccessToken(f"token {number}"), 1.0) for number in range(3)] == [False, False, True]
    assert once.was(OLD, 1.0)


def test_none_is_kept() -> None:
    """A dump of our memory would hold what opens other doors of its owner's, if their clocks are wrong."""
    once, other = OnceGood(), OnceGood()
    for each in (once, other):
        each.note(OLD, 0.0)
    (kept,), (others) = [list(each._seen) for each in (once, other)]
    assert kept not in others and OLD.text.encode() not in kept
    assert OLD.text not in gc.get_referents(once._seen)
