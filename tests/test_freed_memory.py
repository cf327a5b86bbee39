"""If these fail, a gateway has for ever what its busiest minute took, or spends its time giving memory back."""

from __future__ import annotations

import os
import platform

import pytest
import trio
from trio.testing import MockClock

from bench.peers.memory import pss
from tlsgate.freed_memory import give_back

_PIECE, _PIECES = 2000, 40_000
_MEMORY = _PIECE * _PIECES // 1024  # KiB


def _pss() -> int:
    return pss([os.getpid()])


def _hole() -> list[bytes]:
    """Much memory that was freed below some that wasn't."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("a libc that is told nothing")
    pieces = [bytes(_PIECE) for _ in range(_PIECES)]
    return pieces[-1:]


@pytest.mark.parametrize(("before", "after", "is_given"), [(2000, 900, True), (2000, 1100, False), (400, 0, False)])
async def test_it_goes_back_when_half_of_many_sessions_have_gone(
    autojump_clock: MockClock, before: int, after: int, is_given: bool
) -> None:
    counts = [before, before, after]
    kept, first = _hole(), _pss()
    with trio.move_on_after(60):
        await give_back(lambda: counts.pop(0) if len(counts) > 1 else counts[0])
    assert kept and (_pss() < first - _MEMORY // 2) is is_given
