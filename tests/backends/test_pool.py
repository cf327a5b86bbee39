"""Which backend is tried first: a wrong order overloads a small server or uses a spare one."""

from __future__ import annotations

import ssl
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


async def test_one_that_is_down_is_tried_last_whatever_its_priority() -> None:
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


def test_one_failure_empties_nothing_of_what_is_offered() -> None:
    """Clients that ask for SIZE or 8BITMIME in that moment would be told that they can't have them."""
    single = pool((10, 1))
    single.backends[0].capabilities = ("SIZE 100", "8BITMIME")
    single.backends[0].mark(up=False, why="away", sure=True)
    assert single.capabilities == ("SIZE 100", "8BITMIME")


def told_by(backend: Backend) -> list[tuple[bool, str]]:
    told: list[tuple[bool, str]] = []
    backend.on_change = lambda changed, why: told.append((changed.up, why))
    return told


def states(backend: Backend) -> list[bool]:
    assert isinstance(backend.trace, BackendRecords)
    return backend.trace.states


async def test_a_change_is_told_once() -> None:
    backend = pool((10, 1)).backends[0]
    told = told_by(backend)
    backend.mark(up=True)
    for why in ("refused", "refused again", "and again"):
        backend.mark(up=False, why=why)
    backend.mark(up=True)
    assert told == [(False, "refused again"), (True, "")]
    assert states(backend) == [False, True]


async def test_a_failure_between_successes_is_not_told_but_puts_a_backend_last() -> None:
    """Each connection that breaks would be an outage in the log, and its end; the next login still goes elsewhere."""
    two = pool((10, 1), (20, 1))
    first = two.backends[0]
    told = told_by(first)
    for _ in range(3):
        first.mark(up=False, why="reset")
        assert order(two) == [1, 0]
        first.mark(up=True)
    assert order(two) == [0, 1]
    assert told == []
    assert states(first) == []


def test_a_failure_that_is_sure_is_told_at_once() -> None:
    backend = pool((10, 1)).backends[0]
    told = told_by(backend)
    backend.mark(up=False, why="reset")
    backend.mark(up=False, why="no answer", sure=True)
    backend.mark(up=False, why="no answer", sure=True)
    assert told == [(False, "no answer")]


def test_a_client_that_is_not_told_is_told_once() -> None:
    """One line a session would hide all others. IPv6 clients alone may be the ones that a server doesn't take."""
    backend = pool((10, 1)).backends[0]
    told: list[tuple[int, str]] = []
    backend.on_not_told = lambda _, version, why: told.append((version, why))
    for version, why in ((4, ""), (6, "no XCLIENT"), (4, ""), (6, "no XCLIENT"), (4, "no XCLIENT"), (4, "no XCLIENT")):
        backend.client_told(version, why)
    assert told == [(6, "no XCLIENT"), (4, "no XCLIENT")]
    backend.client_told(6)
    backend.client_told(4, "no XCLIENT")
    backend.client_told(6, "no XCLIENT")
    assert told[2:] == [(6, "no XCLIENT")]


def test_a_reload_changes_the_limit_and_the_contexts_and_tells_how_it_is() -> None:
    """A kept pool has the old limit, and trusts the old CA, for ever otherwise."""
    settings = config.Pool(backends=(config.Backend(address=HostPort("192.0.2.1", 993), tls=BackendTls.IMPLICIT),))
    old, new = ssl.create_default_context(), ssl.create_default_context()
    kept = Pool("pool", settings, lambda *_: BackendRecords(), connections=5, contexts=(old,))
    backend = kept.backends[0]
    assert backend.tls_context is old
    backend.mark(up=False, sure=True)
    backend.taken()
    kept.serve((new,), 1)
    assert backend.tls_context is new
    assert order(kept) == []
    assert states(backend) == [False, False]


def test_a_backend_in_clear_has_no_tls_context() -> None:
    backend = Backend("pool", config.Backend(address=HostPort("192.0.2.1", 143)), BackendRecords())
    with pytest.raises(LookupError):
        _ = backend.tls_context
    over_tls = config.Backend(address=HostPort("192.0.2.1", 993), tls=BackendTls.IMPLICIT)
    assert Backend("pool", over_tls, BackendRecords()).tls_context.check_hostname
