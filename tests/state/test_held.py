"""What a replica holds, and what it tells."""

from __future__ import annotations

from tlsgate.state.held import Held
from tlsgate.state.store import Place


def test_counts_are_told_once_and_as_they_are_then() -> None:
    """Changes that are told twice, or not at all, make the server's count drift."""
    held = Held()
    assert held.enter([Place("a", 2)]) is None
    assert held.enter([Place("a", 2), Place("b", 2)]) is None
    assert held.tell(10) == ["a", 2, "b", 1]
    assert held.tell(10) == [] and not held.untold
    held.leave(["a"])
    held.leave(["a", "b"])
    assert held.tell(1) == ["a", 0]
    assert held.tell(1) == ["b", 0]
    assert len(held) == 0


def test_what_is_full_takes_no_place() -> None:
    held = Held()
    assert held.enter([Place("a", 1)]) is None
    assert held.enter([Place("b", 1), Place("a", 1)]) == Place("a", 1)
    assert (held.used("a"), held.used("b")) == (1, 0)


def test_what_the_server_granted_needs_no_telling() -> None:
    held = Held()
    held.grant(["a", "b"])
    assert not held.untold and len(held) == 2
    held.doubt_all()
    assert held.tell(10) == ["a", 1, "b", 1]


def test_each_count_is_said_again_in_its_turn() -> None:
    """One that is never said again expires at the server while its session goes on."""
    held = Held()
    keys = [str(number) for number in range(450)]
    held.grant(keys)
    told: list[str | int] = []
    for _ in range(150):
        held.doubt_some()
        told += held.tell(1000)
    assert sorted(str(each) for each in told[::2]) == sorted(keys)
