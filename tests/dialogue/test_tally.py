"""Tally: the bound itself for bad commands and failed logins, one more than it for commands that are right."""

from __future__ import annotations

from tlsgate.dialogue.events import Bounds
from tlsgate.dialogue.tally import Tally


def test_bad_commands_end_at_the_bound() -> None:
    tally = Tally(Bounds(bad_commands=3))
    assert [tally.bad() for _ in range(4)] == [False, False, True, True]


def test_attempts_end_at_the_bound() -> None:
    tally = Tally(Bounds(auth_attempts=2))
    assert [tally.attempt() for _ in range(3)] == [False, True, True]


def test_commands_end_behind_the_bound() -> None:
    tally = Tally(Bounds(commands=2))
    assert [tally.command() for _ in range(4)] == [False, False, True, True]


def test_each_is_counted_for_itself() -> None:
    """A client that is clumsy once in each way must not be thrown out."""
    tally = Tally(Bounds(bad_commands=2, auth_attempts=2, commands=1))
    assert not tally.command()
    assert not tally.bad()
    assert not tally.attempt()
    assert tally.bad()
    assert tally.attempt()
