"""What the crowd is told to do, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """``shares``: of the protocols, in hundredths, and of slow readers among all; ``sources``: how many addresses.

    ``beat``: seconds. ``churn``: the share of sessions that leave and come again at a beat. ``mail``: the share of
    submission's sessions that send a message at a beat.
    """

    sessions: int
    ports: dict[str, int]
    shares: dict[str, int]
    slow: int = 5
    sources: int = 40
    beat: float = 10.0
    churn: float = 0.02
    mail: float = 0.5


@dataclass(frozen=True, slots=True)
class Status:
    """How many are inside, by backend too; how many are away, or have no answer, for long; what has been counted since
    the start; round trips since the last status.

    ``counts``: logins; left, sessions that went by themselves; answers to NOOPs; sips of slow readers; taken, put_off
    and uncertain, messages. ``lost``, ``failed``: sessions and logins, by what became of them. ``taken``: the numbers
    of the messages that were taken, at the end.
    """

    inside: int
    away: int
    by_backend: dict[str, int]
    counts: dict[str, int]
    lost: dict[str, int]
    failed: dict[str, int]
    p50_ms: float
    p99_ms: float
    longest_ms: float
    taken: list[int]
