"""Which backend is tried first: a wrong order overloads a small server or uses a spare one."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.gate import BackendRecords
from tlsgate import config
from tlsgate.backends.pool import Backend, Pool
from tlsgate.config import BackendTls, HostPort


def pool(*rows: tuple[int, int], connections: int = 1000) -> Pool:
    """Backends by (priority, weight); the n-th is at port n."""
    backends = tuple(
        config.Backend(address=HostPort("192.0.2.1", port), priority=priority, weight=weight)
        for port, (priority, weight) in enumerate(rows)
    )
    return Pool("pool", config.Pool(backends=backends), lambda *_: BackendRecords(), connections=connections)


def order(pool: Pool) -> list[int]:
    return [pool.backends.index(backend) for backend in pool.candidates()]


def test_lower_priority_numbers_first() -> None:
    assert order(pool((20, 1), (10, 1), (30, 1))) == [1, 0, 2]


def test_one_that_is_down_is_tried_last_whatever_its_priority() -> None:
    two = pool((10, 1), (20, 1), (30, 1))
    two.backends[0].mark(up=False, why="away")
    assert order(two) == [1, 2, 0]


def test_weights_share_within_a_priority() -> None:
    """9 to 1 in 4000 draws: outside of 3400..3800 about once in 10^30 runs."""
    weighted = pool((10, 9), (10, 1))
    first = Counter(order(weighted)[0] for _ in range(4000))
    assert 3400 < first[0] < 3800


def test_every_backend_of_a_priority_is_tried() -> None:
    assert sorted(order(pool((10, 5), (10, 1), (10, 65_535)))) == [0, 1, 2]


def test_a_full_backend_is_passed_over() -> None:
    capped = pool((10, 1), (20, 1), connections=1)
    capped.backends[0].taken()
    assert order(capped) == [1]
    capped.backends[0].released()
    assert order(capped) == [0, 1]


def test_capabilities_are_what_every_backend_has() -> None:
    """A client may meet any of them."""
    three = pool((10, 1), (10, 1), (10, 1))
    assert not three.capabilities
    three.backends[0].capabilities = ("SIZE 100", "8BITMIME", "DSN")
    assert " ".join(three.capabilities) == "SIZE 100 8BITMIME DSN"
    three.backends[1].capabilities = ("DSN", "8BITMIME")
    assert " ".join(three.capabilities) == "8BITMIME DSN"
    three.backends[1].mark(up=False)
    assert " ".join(three.capabilities) == "SIZE 100 8BITMIME DSN"


def test_a_change_is_told_once() -> None:
    told: list[tuple[bool, str]] = []
    backend = pool((10, 1)).backends[0]
    backend.on_change = lambda changed, why: told.append((changed.up, why))
    backend.mark(up=True)
    backend.mark(up=False, why="refused")
    backend.mark(up=False, why="refused again")
    backend.mark(up=True)
    assert told == [(False, "refused"), (True, "")]
    assert isinstance(backend.trace, BackendRecords)
    assert backend.trace.states == [True, False, True]


def test_a_backend_in_clear_has_no_tls_context() -> None:
    backend = Backend("pool", config.Backend(address=HostPort("192.0.2.1", 143)), BackendRecords())
    with pytest.raises(LookupError):
        _ = backend.tls_context
    over_tls = config.Backend(address=HostPort("192.0.2.1", 993), tls=BackendTls.IMPLICIT)
    assert Backend("pool", over_tls, BackendRecords()).tls_context.check_hostname
