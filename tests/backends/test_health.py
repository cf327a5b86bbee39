"""Probes: what they learn of a backend, and how soon one that is down is asked again."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from tests.backends.test_login import IMAP, SMTP, no_descriptors, serving
from tests.gate import pool_of, records
from tests.legacy_server import Script, Smtp, Talk, closing, imap, nonsense, silent
from tlsgate.backends.health import probe, probe_all, watch
from tlsgate.backends.pool import Pool
from tlsgate.config import ClientAddress, HostPort
from tlsgate.dialogue.client import Endpoint


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.03)


async def test_a_probe_learns_what_a_backend_can_do(nursery: trio.Nursery) -> None:
    server = await serving(nursery, Smtp(keywords=(b"AUTH LOGIN", b"SIZE 1000", b"DSN")))
    pool = pool_of(server.address)
    await probe_all([(pool, SMTP)])
    assert pool.capabilities == ("AUTH LOGIN", "SIZE 1000", "DSN")
    assert pool.backends[0].connections == records(pool).open == 0


async def test_a_probe_takes_leave(nursery: trio.Nursery) -> None:
    """Servers log a client that just vanishes, every ten seconds."""
    server = await serving(nursery, Smtp())
    await probe_all([(pool_of(server.address), SMTP)])
    await server.talks[0].cut.wait()
    assert bytes(server.talks[0].heard).endswith(b"QUIT\r\n")


@pytest.mark.parametrize("script", [closing, nonsense, silent], ids=["closes", "nonsense", "silent"])
async def test_an_unfit_backend_is_marked_down(clock: MockClock, nursery: trio.Nursery, script: Script) -> None:
    server = await serving(nursery, script)
    pool = pool_of(server.address)
    await probe_all([(pool, IMAP)])
    assert not pool.backends[0].up
    assert len(records(pool).failures) == 1
    assert pool.backends[0].connections == records(pool).open == 0


async def test_our_own_shortage_says_nothing_of_a_backend(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    pool = pool_of(server.address)
    with no_descriptors():
        await probe(pool.backends[0], IMAP, 5.0)
    assert pool.backends[0].up


async def test_one_that_is_down_is_asked_again_soon_then_less_often(clock: MockClock, nursery: trio.Nursery) -> None:
    """After 1, 2, 4 and 8 s, then each 10 s; and each 10 s once it is up."""
    asked: list[float] = []

    async def down_for_five(talk: Talk) -> None:
        asked.append(round(trio.current_time()))
        if len(asked) > 5:
            await imap(talk)

    server = await serving(nursery, down_for_five)
    pool = pool_of(server.address)
    await probe_all([(pool, IMAP)])
    nursery.start_soon(watch, [(pool, IMAP)])
    await trio.sleep(50)
    assert [later - earlier for earlier, later in pairwise(asked)] == [1, 2, 4, 8, 10, 10, 10]
    assert records(pool).states == [False, True]


async def test_a_slow_backend_does_not_hold_up_the_probes_of_another(clock: MockClock, nursery: trio.Nursery) -> None:
    slow, quick = await serving(nursery, silent), await serving(nursery, imap)
    pool: Pool = pool_of(slow.address, quick.address)
    nursery.start_soon(watch, [(pool, IMAP)])
    await trio.sleep(45)
    assert len(quick.talks) == 5
    assert not pool.backends[0].up


async def test_one_that_was_never_asked_is_asked_at_once(clock: MockClock, nursery: trio.Nursery) -> None:
    """A pool that a reload has brought would offer nothing of what its backends can do until the first interval."""
    server = await serving(nursery, Smtp(keywords=(b"AUTH LOGIN", b"SIZE 1000")))
    pool = pool_of(server.address)
    nursery.start_soon(watch, [(pool, SMTP)])
    await trio.sleep(1)
    assert pool.capabilities == ("AUTH LOGIN", "SIZE 1000")


@pytest.mark.parametrize("how", [ClientAddress.PROXY_V1, ClientAddress.PROXY_V2])
async def test_a_probe_is_no_client(nursery: trio.Nursery, how: ClientAddress) -> None:
    """Without a header the backend waits for one, then closes; version 1's UNKNOWN is refused by Postfix."""
    ends: list[tuple[object, ...]] = []

    async def behind(talk: Talk) -> None:
        header = await talk.proxy_header()
        ends.append((header.version, header.source, header.destination))
        await imap(talk)

    server = await serving(nursery, behind)
    assert isinstance(server.address, HostPort)
    pool = pool_of(server.address, client_address=how)
    await probe_all([(pool, IMAP)])
    assert pool.backends[0].up
    assert pool.capabilities == ("IMAP4rev1", "IDLE")
    ((version, source, destination),) = ends
    if how is ClientAddress.PROXY_V2:
        assert (version, source, destination) == (2, None, None)
    else:
        assert isinstance(source, Endpoint)
        assert (version, str(source.address)) == (1, "127.0.0.1")
        assert destination == Endpoint(IPv4Address("127.0.0.1"), server.address.port)


async def test_a_probe_confirms_what_a_login_has_found(nursery: trio.Nursery) -> None:
    server = await serving(nursery, closing)
    pool = pool_of(server.address)
    pool.backends[0].mark(up=False, why="reset")
    assert records(pool).states == []
    await probe_all([(pool, IMAP)])
    assert records(pool).states == [False]
