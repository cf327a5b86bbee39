"""The search for leaks of bench/: every kind of session goes through, and what they leave is seen.

If this fails, nobody would notice memory or descriptors that stay behind with sessions.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.leak import Leaks, Left, look_for_leaks
from bench.peers.subject import Ports
from tests.system.peers import free_port


def test_no_descriptor_is_left_of_some_hundred_sessions(built: Path, tmp_path: Path) -> None:
    """So few say nothing of memory."""
    ports = Ports(*(free_port() for _ in range(8)))
    leaks = look_for_leaks(tmp_path, built, ports, sessions=200, warm=100)
    assert (leaks.start.done, leaks.first.done, leaks.second.done) == (100, 100, 100)
    assert leaks.start.descriptors == leaks.first.descriptors == leaks.second.descriptors
    log = (tmp_path / "stderr").read_text()
    for fate in ('"auth_failed"', '"handshake_failed"', '"no_login"', '"ok"'):
        assert fate in log, fate


@pytest.mark.parametrize(
    ("second", "none"),
    [
        (Left(1020, 14, 100), True),
        (Left(900, 14, 100), True),
        (Left(1021, 14, 100), False),
        (Left(900, 15, 100), False),
    ],
)
def test_two_in_a_hundred_more_is_a_leak(second: Left, none: bool) -> None:
    leaks = Leaks(Left(500, 14, 10), Left(1000, 14, 100), second)
    assert leaks.none is none
    assert str(leaks).count("\n") == 2
