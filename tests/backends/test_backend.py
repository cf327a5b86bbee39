"""A backend's share after an outage: all at once, it goes down again, with cold caches and everybody at its door."""

from __future__ import annotations

from collections import Counter

import pytest
from trio.testing import MockClock

from tests.gate import BackendRecords
from tlsgate import config
from tlsgate.backends.pool import Backend, Pool
from tlsgate.config import HostPort, MxName


def two(slow_start: float = 30.0) -> Pool:
    backends = tuple(config.Backend(address=HostPort("192.0.2.1", port), weight=8) for port in (1, 2))
    settings = config.Pool(backends=backends, slow_start=slow_start)
    return Pool("pool", settings, lambda *_: BackendRecords(), connections=1000)


def outage(backend: Backend) -> None:
    backend.mark(up=False, sure=True)
    backend.mark(up=True)


async def test_a_share_grows_after_an_outage(mock_clock: MockClock) -> None:
    backend = two().backends[0]
    assert backend.weight == 8
    outage(backend)
    grown = []
    for _ in range(8):
        grown.append(backend.weight)
        mock_clock.jump(5)
    assert grown == pytest.approx([0.4, 8 / 6, 8 / 3, 4, 16 / 3, 20 / 3, 8, 8])


async def test_logins_follow_the_share(mock_clock: MockClock) -> None:
    """1 in 21 of 2000 at first: outside of 40..170 about once in 10^9 runs. Later it is half of them."""
    pool = two()
    outage(pool.backends[0])

    def first() -> int:
        return Counter(next(pool.candidates()) is pool.backends[0] for _ in range(2000))[True]

    assert 40 < first() < 170
    mock_clock.jump(30)
    assert 850 < first() < 1150


async def test_a_second_outage_begins_again(mock_clock: MockClock) -> None:
    backend = two().backends[0]
    outage(backend)
    mock_clock.jump(20)
    outage(backend)
    assert backend.weight == pytest.approx(0.4)


async def test_one_connection_that_breaks_is_no_outage(mock_clock: MockClock) -> None:
    """Under load there is always one: a backend would never have its share."""
    backend = two().backends[0]
    backend.mark(up=False, why="reset")
    backend.mark(up=True)
    assert backend.weight == 8


async def test_a_start_is_no_outage(mock_clock: MockClock) -> None:
    backend = two().backends[0]
    backend.mark(up=True)
    assert backend.weight == 8


async def test_slow_start_off(mock_clock: MockClock) -> None:
    backend = two(0.0).backends[0]
    outage(backend)
    assert backend.weight == 8


def test_a_name_of_many_is_no_backend() -> None:
    with pytest.raises(TypeError):
        Backend("pool", config.Backend(address=MxName("example.org")), BackendRecords())
