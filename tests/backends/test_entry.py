"""The servers that a name in the DNS stands for: who comes, who leaves, and what stays while the DNS is away."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.backends.test_login import IMAP, LOGIN, serving
from tests.dns_server import SERVFAIL, DnsServer, has
from tests.gate import BackendRecords
from tests.legacy_server import LegacyServer, Talk, imap
from tlsgate import config
from tlsgate.backends.entry import Entry
from tlsgate.backends.faults import BackendFault, NoBackend, Reason
from tlsgate.backends.health import probe_all, watch
from tlsgate.backends.login import ask, log_in
from tlsgate.backends.pool import Pool
from tlsgate.backends.resolve import Names
from tlsgate.config import BackendTls, HostPort, SrvName
from tlsgate.state.memory import Memory

SERVICE = "_imap._tcp.example.org"
NAME = SrvName(SERVICE)


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


@pytest.fixture
async def dns(clock: MockClock, nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


def pool_at(
    dns: DnsServer, *more: config.Backend, connections: int = 1000, timeout: float = 5.0, **of_all: object
) -> Pool:
    backends = (config.Backend(address=NAME, **of_all), *more)  # type: ignore[arg-type]
    settings = config.Pool(backends=backends, health_interval=10.0)
    traces: dict[str, BackendRecords] = {}

    def trace(_: str, address: str) -> BackendRecords:
        return traces.setdefault(address, BackendRecords())

    return Pool("pool", settings, trace, connections=connections, names=Names(dns.resolver(timeout)))


def says(dns: DnsServer, *servers: str, ttl: int = 60) -> None:
    """Each "priority weight host:port"."""
    rows = (each.replace(":", " ").split(" ") for each in servers)
    dns.says(SERVICE, "SRV", has(*(f"{p} {w} {port} {host}." for p, w, host, port in rows), ttl=ttl))


async def looked_up(pool: Pool) -> list[str]:
    await pool.entries[0].look_up("")
    return [each.address for each in pool.backends]


def whole(pool: Pool) -> BackendRecords:
    """What is told of all servers of the name."""
    trace = pool.entries[0]._trace
    assert isinstance(trace, BackendRecords)
    return trace


async def test_servers_come_and_leave(dns: DnsServer, clock: MockClock) -> None:
    says(dns, "10 1 a.test:143", "10 1 b.test:143")
    pool = pool_at(dns)
    assert await looked_up(pool) == ["a.test:143", "b.test:143"]
    stays = pool.backends[1]
    says(dns, "10 5 b.test:143", "20 1 c.test:143")
    clock.jump(61)
    assert await looked_up(pool) == ["b.test:143", "c.test:143"]
    assert pool.backends[0] is stays
    assert stays.full_weight == 5
    assert all(each.up and each.capabilities is None for each in pool.backends)


async def test_records_order_the_servers_within_the_entrys_priority(dns: DnsServer) -> None:
    """A spare of the config must not be used before a spare of the DNS."""
    says(dns, "10 1 a.test:143", "30 1 b.test:143")
    pool = pool_at(dns, config.Backend(address=HostPort("192.0.2.1", 143), priority=20))
    await looked_up(pool)
    assert [each.address for each in pool.candidates()] == ["a.test:143", "b.test:143", "192.0.2.1:143"]


@pytest.mark.parametrize("ttl", [0, 86_400])
async def test_when_to_look_again(dns: DnsServer, ttl: int) -> None:
    """By the TTL: but a wrong one must neither keep us busy nor hold us for a day."""
    says(dns, "10 1 a.test:143", ttl=ttl)
    assert await pool_at(dns).entries[0].look_up("") == (300.0 if ttl else pytest.approx(1.0, abs=0.1))


async def test_a_dns_that_fails_changes_nothing(dns: DnsServer, clock: MockClock) -> None:
    """And is asked again soon, then less often."""
    says(dns, "10 1 a.test:143")
    pool = pool_at(dns)
    await looked_up(pool)
    dns.says(SERVICE, "SRV", SERVFAIL)
    pauses = []
    for _ in range(7):
        clock.jump(61)
        pauses.append(await pool.entries[0].look_up(""))
        assert [each.address for each in pool.backends] == ["a.test:143"]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    says(dns, "10 1 b.test:143")
    clock.jump(61)
    assert await looked_up(pool) == ["b.test:143"]
    assert pool.entries[0].unknown == ""


async def test_nothing_at_the_start_is_a_pool_that_nobody_can_use_until_there_is(
    dns: DnsServer, clock: MockClock
) -> None:
    dns.says(SERVICE, "SRV", SERVFAIL)
    pool = pool_at(dns)
    assert pool.capabilities == ()
    with pytest.raises(NoBackend, match="wasn't looked up yet"):
        await log_in(pool, LOGIN, IMAP)
    assert await looked_up(pool) == []
    with pytest.raises(NoBackend, match=f"{SERVICE} isn't known \\(servfail\\)"):
        await log_in(pool, LOGIN, IMAP)
    dns.says(SERVICE, "SRV", has("0 0 0 .", ttl=60))
    clock.jump(2)
    assert await looked_up(pool) == []
    with pytest.raises(NoBackend, match=f"{SERVICE} stands for no server"):
        await log_in(pool, LOGIN, IMAP)
    assert whole(pool).states[-1] is False
    says(dns, "10 1 a.test:143")
    clock.jump(61)
    assert await looked_up(pool) == ["a.test:143"]
    assert whole(pool).states[-1] is True


async def test_changes_are_told_once(dns: DnsServer, clock: MockClock) -> None:
    told: list[tuple[list[str], str]] = []
    says(dns, "10 1 a.test:143")
    pool = pool_at(dns)

    def servers(entry: Entry) -> None:
        told.append(([each.address for each in entry.backends], entry.unknown))

    changed: list[tuple[str, str]] = []
    pool.tell(lambda backend, why: changed.append((backend.address, why)), lambda *_: None, servers)
    for reply in (None, None, SERVFAIL, SERVFAIL, None, None):
        if reply is None:
            says(dns, "10 1 a.test:143")
        else:
            dns.says(SERVICE, "SRV", reply)
        await looked_up(pool)
        clock.jump(61)
    unknown = f"srv:{SERVICE} isn't known (servfail)"
    assert told == [(["a.test:143"], ""), (["a.test:143"], unknown), (["a.test:143"], "")]
    pool.backends[0].mark(up=False, why="away", sure=True)
    assert changed == [("a.test:143", "away")]


async def test_up_as_a_whole_is_up_all(dns: DnsServer, clock: MockClock) -> None:
    """Metrics have one row for the name: one that says up while a server is down hides it."""
    says(dns, "10 1 a.test:143", "10 1 b.test:143")
    pool = pool_at(dns)
    await looked_up(pool)
    down, other = pool.backends
    down.mark(up=False, sure=True)
    other.mark(up=False, sure=True)
    other.mark(up=True)
    assert whole(pool).states[-1] is False
    says(dns, "10 1 b.test:143")
    clock.jump(61)
    await looked_up(pool)
    assert whole(pool).states[-1] is True
    down.mark(up=True)
    down.mark(up=False, sure=True)
    assert whole(pool).states[-1] is True


async def test_sessions_with_a_server_that_has_left_go_on_and_are_counted(dns: DnsServer, clock: MockClock) -> None:
    """Also if it comes back: a second count of its connections would be twice its limit."""
    says(dns, "10 1 a.test:143")
    pool = pool_at(dns, connections=1)
    await looked_up(pool)
    first = pool.backends[0]
    first.taken()
    says(dns, "10 1 b.test:143")
    clock.jump(61)
    assert await looked_up(pool) == ["b.test:143"]
    assert whole(pool).open == 1
    says(dns, "10 1 a.test:143")
    clock.jump(61)
    await looked_up(pool)
    assert pool.backends == [first]
    assert list(pool.candidates()) == []
    first.released()
    assert list(pool.candidates()) == [first]
    assert whole(pool).open == 0


async def test_a_server_that_has_left_without_sessions_is_forgotten(dns: DnsServer, clock: MockClock) -> None:
    """Names of containers are new at each start: all that there ever were would be kept."""
    says(dns, "10 1 a.test:143")
    pool = pool_at(dns)
    await looked_up(pool)
    first = pool.backends[0]
    for server in ("10 1 b.test:143", "10 1 a.test:143"):
        says(dns, server)
        clock.jump(61)
        await looked_up(pool)
    assert pool.backends[0] is not first


async def test_servers_that_come_later_have_the_limits_of_a_reload(dns: DnsServer, clock: MockClock) -> None:
    says(dns, "10 1 a.test:143")
    pool = pool_at(dns, tls=BackendTls.IMPLICIT)
    await looked_up(pool)
    context, store = ssl.create_default_context(), Memory(trio.current_time)
    pool.serve((context,), 1, store)
    says(dns, "10 1 b.test:143")
    clock.jump(61)
    await looked_up(pool)
    (new,) = pool.backends
    assert new.tls_context is context
    assert await new.take() is None
    assert await new.take() is not None
    new.released()
    assert store.empty


# -- whose certificate --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certified", "server_name", "good"),
    [
        ("example.org", "", True),
        ("localhost", "", False),
        ("localhost", "localhost", True),
        ("example.org", "localhost", False),
    ],
)
async def test_the_certificate_is_for_what_was_asked_for(
    dns: DnsServer, nursery: trio.Nursery, tmp_path: Path, certified: str, server_name: str, good: bool
) -> None:
    """RFC 6125 6.2.1: who can answer for the DNS can name any server, and may well have a certificate for that one."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(context)

    async def over_tls(talk: Talk) -> None:
        await talk.start_tls(context)
        await imap(talk)

    server = await serving(nursery, over_tls)
    says(dns, f"10 1 localhost:{port_of(server)}")
    pool = pool_at(dns, tls=BackendTls.IMPLICIT, ca=tmp_path / "ca.pem", server_name=server_name)
    await looked_up(pool)
    if good:
        (await ask(pool.backends[0], LOGIN, IMAP, 5.0)).close()
        return
    with pytest.raises(BackendFault) as caught:
        await ask(pool.backends[0], LOGIN, IMAP, 5.0)
    assert caught.value.reason is Reason.TLS


def port_of(server: LegacyServer) -> int:
    assert isinstance(server.address, HostPort)
    return server.address.port


# -- probes -------------------------------------------------------------------------------------------


async def test_a_first_probe_looks_up_and_asks(dns: DnsServer, nursery: trio.Nursery) -> None:
    """What a pool can do must be known when the first client comes."""
    server = await serving(nursery, imap)
    says(dns, f"10 1 localhost:{port_of(server)}")
    pool = pool_at(dns)
    await probe_all([(pool, IMAP)])
    assert pool.capabilities == ("IMAP4rev1", "IDLE")


async def test_servers_are_followed_and_probed(dns: DnsServer, clock: MockClock, nursery: trio.Nursery) -> None:
    """A new one at once; one that has left no more: it may be somebody else's by now."""
    old, new = await serving(nursery, imap), await serving(nursery, imap)
    says(dns, f"10 1 localhost:{port_of(old)}")
    pool = pool_at(dns)
    nursery.start_soon(watch, [(pool, IMAP)])
    await old.called.wait()
    says(dns, f"10 1 localhost:{port_of(new)}")
    await wait_all_tasks_blocked(0.05)
    clock.jump(61)
    await new.called.wait()
    await wait_all_tasks_blocked(0.05)
    probes = len(old.talks)
    for _ in range(3):
        clock.jump(11)
        await wait_all_tasks_blocked(0.05)
    assert len(old.talks) == probes
    assert len(new.talks) == 4


async def test_a_watch_outlives_a_dns_that_is_away(dns: DnsServer, clock: MockClock, nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    dns.says(SERVICE, "SRV", SERVFAIL)
    pool = pool_at(dns)
    nursery.start_soon(watch, [(pool, IMAP)])
    for _ in range(4):
        await wait_all_tasks_blocked(0.05)
        clock.jump(31)
    says(dns, f"10 1 localhost:{port_of(server)}")
    await wait_all_tasks_blocked(0.05)
    clock.jump(31)
    await server.called.wait()
    (backend,) = pool.backends
    session = await log_in(pool, LOGIN, IMAP)
    assert session.backend is backend
    session.close()
