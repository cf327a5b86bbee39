"""What the process may do on its host."""

from __future__ import annotations

import pytest

from tlsgate.workers.process import CannotStart, sessions_within, user_id


@pytest.mark.parametrize(
    ("descriptors", "sessions"), [(0, 1), (60, 1), (103, 1), (104, 2), (1024, 462), (20_100, 10_000)]
)
def test_sessions_within_descriptors(descriptors: int, sessions: int) -> None:
    """More would be accepted than can be served; fewer than one, and a small container serves nobody."""
    assert sessions_within(descriptors) == sessions


def test_a_users_id() -> None:
    assert user_id("root") == 0
    assert user_id("") == -1
    with pytest.raises(CannotStart, match="no-such-user"):
        user_id("no-such-user")
