"""The cap on all connections."""

from __future__ import annotations

from tlsgate.admission.capacity import Capacity
from tlsgate.admission.verdict import Verdict


def test_who_is_refused_takes_no_place() -> None:
    capacity = Capacity(2)
    assert [capacity.enter() for _ in range(3)] == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.OVER_CAPACITY]
    capacity.leave()
    assert capacity.enter() is Verdict.ACCEPTED
    assert capacity.used == 2


def test_a_lower_limit_ends_nobody_but_admits_nobody() -> None:
    capacity = Capacity(3)
    for _ in range(3):
        capacity.enter()
    capacity.limit = 2
    capacity.leave()
    assert capacity.enter() is Verdict.OVER_CAPACITY
    capacity.leave()
    assert capacity.enter() is Verdict.ACCEPTED
