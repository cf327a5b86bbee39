"""Accepting: the cheap refusal, shortages, errors of the network, and stopping."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.gate import HOSTNAME, TRUSTING, House, ListenerRecords, admission, gate, limits, pool_of, server_contexts
from tests.legacy_server import LegacyServer, imap
from tests.test_session import SCRIPTS, each_mode, each_protocol
from tlsgate.admission.network import parse_network
from tlsgate.admission.prefixes import PrefixSet
from tlsgate.admission.rules import AddressRules, load_rules
from tlsgate.backends.pool import Pool
from tlsgate.config import Admission, Bans, HostPort, Protocol, TlsMode, UnixPath
from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.proxy import proxy_v1, proxy_v2
from tlsgate.listener import Listener
from tlsgate.relay import Pump
from tlsgate.service import Service
from tlsgate.sockets import bind

pytestmark = pytest.mark.timeout(30)
NOWHERE = HostPort("127.0.0.1", 1)


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


def ipv6() -> bool:
    try:
        bind(HostPort("::1", 0)).close()
    except OSError:
        return False
    return True


@each_protocol
@each_mode
async def test_over_capacity_is_refused_cheaply(nursery: trio.Nursery, protocol: Protocol, tls: TlsMode) -> None:
    """In clear where the protocol allows it; never by a handshake, which is what an attacker wants us to pay for."""
    server: LegacyServer = await nursery.start(LegacyServer(SCRIPTS[protocol]).serve)
    async with gate(protocol, tls, pool_of(server.address), limits(connections=2)) as running:
        first, second = await running.logged_in(), await running.secure()
        third = await running.connect()
        if tls is TlsMode.STARTTLS:
            assert (await third.line()).startswith(third.speech.ending)
        assert await third.ended()
        assert running.trace.refusals == ["over_capacity"]
        assert len(running.trace.sessions) == 2
        second.close()
        while running.door.used == 2:
            running.ended = trio.Event()
            await running.ended.wait()
        fourth = await running.logged_in()
        for client in (first, fourth):
            client.close()
        await running.quiet()


async def test_the_clients_address_is_told() -> None:
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE)) as running:
        client = await running.connect()
        await client.line()
        assert running.trace.clients == [client.socket.getsockname()]


@pytest.mark.skipif(not ipv6(), reason="no IPv6 here")
async def test_an_ipv4_client_of_an_ipv6_listener_is_known_by_its_ipv4_address(nursery: trio.Nursery) -> None:
    """Blocks and caps hold for it as IPv4 (cases.md E5)."""
    listener, trace = listener_on(bind(HostPort("::", 0)), nursery)
    nursery.start_soon(listener.run)
    with socket.create_connection(("127.0.0.1", listener.socket.getsockname()[1])) as client:
        while not trace.clients:
            await wait_all_tasks_blocked()
        assert trace.clients == [client.getsockname()]
    listener.stop()


async def test_a_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    path = tmp_path / "gate"
    with bind(UnixPath(path)):
        pass
    listener, trace = listener_on(bind(UnixPath(path)), nursery)  # what a dead process has left is no hindrance
    nursery.start_soon(listener.run)
    async with await trio.open_unix_socket(path) as client:
        assert (await client.receive_some(4)) == b"* OK"
    assert trace.clients == [("unix", 0)]
    listener.stop()
    assert not path.exists()


def test_a_unix_socket_that_somebody_listens_on_is_not_taken(tmp_path: Path) -> None:
    """A second gateway by mistake would cut off the first, and neither would say so."""
    path = tmp_path / "gate"
    with bind(UnixPath(path)) as first:
        with pytest.raises(OSError, match="in use"):
            bind(UnixPath(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            first.accept()[0].close()


def test_a_unix_socket_whose_backlog_is_full_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "gate"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        with pytest.raises(OSError, match="in use"):
            bind(UnixPath(path))


async def test_stopping_leaves_the_unix_socket_of_another(nursery: trio.Nursery, tmp_path: Path) -> None:
    """Who was started in our place would be cut off by our end."""
    path = tmp_path / "gate"
    listener, _ = listener_on(bind(UnixPath(path)), nursery)
    path.unlink()
    with bind(UnixPath(path)):
        listener.stop()
        assert path.exists()


@pytest.mark.parametrize("mode", [0o666, 0o600])
def test_who_may_connect_to_a_unix_socket(tmp_path: Path, mode: int) -> None:
    """Mail clients' processes run as other users; what the admin address tells isn't for them."""
    path = tmp_path / "gate"
    with bind(UnixPath(path), mode):
        assert path.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_unix_socket_of_another_owner(tmp_path: Path) -> None:
    path = tmp_path / "gate"
    with bind(UnixPath(path), 0o600, 65534):
        assert path.stat().st_uid == 65534


def test_a_file_at_a_unix_sockets_path_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="in use"):
        bind(UnixPath(path))
    assert path.read_text() == "data"


def test_a_taken_port_is_an_error() -> None:
    with bind(HostPort("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bind(HostPort(*taken.getsockname()))


async def test_accepted_sockets_do_not_wait_for_more(nursery: trio.Nursery) -> None:
    """Without TCP_NODELAY a login takes 44 ms."""
    with bind(HostPort("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()):
        await trio.lowlevel.wait_readable(listening)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- the PROXY header ------------------------------------------------------------------------------------

BALANCER, STRANGER = "127.0.0.1", "127.0.0.2"
PROXIES = ("127.0.0.1/32",)
NOBODY = AddressRules()
LOCAL = {"unknown": proxy_v1(None, None), "local": proxy_v2(None, None)}
each_local = pytest.mark.parametrize("header", LOCAL.values(), ids=LOCAL)


def header(client: str = "203.0.113.7", port: int = 4711, version: int = 2) -> bytes:
    """Of a client that the balancer brings."""
    source = Endpoint(ip_address(client), port)
    ours = Endpoint(IPv4Address("192.0.2.1") if source.address.version == 4 else IPv6Address("2001:db8::1"), 993)
    return (proxy_v1 if version == 1 else proxy_v2)(source, ours)


@each_protocol
@each_mode
@pytest.mark.parametrize("version", [1, 2])
async def test_the_client_of_the_header_is_the_client(
    nursery: trio.Nursery, protocol: Protocol, tls: TlsMode, version: int
) -> None:
    server: LegacyServer = await nursery.start(LegacyServer(SCRIPTS[protocol]).serve)
    async with gate(protocol, tls, pool_of(server.address), proxies=PROXIES) as running:
        client = await running.logged_in(header(version=version))
        assert running.trace.clients == [("203.0.113.7", 4711)]
        client.close()
        await running.quiet()


async def test_both_kinds_of_peer_on_one_listener(nursery: trio.Nursery) -> None:
    server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address), proxies=PROXIES) as running:
        await running.logged_in(header("2001:db8::7"), BALANCER)
        other = await running.logged_in(source=STRANGER)
        assert running.trace.clients == [("2001:db8::7", 4711), other.socket.getsockname()]


async def test_a_header_of_somebody_else_is_garbage(clock: MockClock) -> None:
    """Who may say who he is passes every list and every ban (cases.md D21, E1)."""
    pool = pool_of(NOWHERE)
    async with gate(Protocol.SUBMISSION, TlsMode.STARTTLS, pool, proxies=PROXIES) as running:
        client = await running.connect(header(version=1), STRANGER)
        assert (await client.reply()).startswith(b"220 ")
        assert (await client.reply()).startswith(b"550 ")
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, proxies=PROXIES) as implicit:
        for first in (header(version=1), header()):
            client = await implicit.connect(first, STRANGER)
            await client.line()
            await implicit.quiet()
    for each in (running, implicit):
        assert {host for host, _ in each.trace.clients} == {STRANGER}
    assert [session.end[0] for session in implicit.trace.sessions] == ["handshake_failed"] * 2


async def test_a_header_behind_the_header_is_garbage(nursery: trio.Nursery) -> None:
    """What the client itself sends comes behind the balancer's own."""
    async with gate(Protocol.SUBMISSION, TlsMode.STARTTLS, pool_of(NOWHERE), proxies=PROXIES) as running:
        client = await running.connect(header() + header("198.51.100.1", version=1))
        assert (await client.reply()).startswith(b"220 ")
        assert (await client.reply()).startswith(b"550 ")
        assert running.trace.clients == [("203.0.113.7", 4711)]


@pytest.mark.parametrize(
    "first",
    [b"", b"\x16\x03\x01\x02\x00\x01", b"a NOOP\r\n", header()[:14] + b"\xff\xff"],
    ids=["end", "tls", "imap", "length"],
)
async def test_no_header_of_a_balancer(first: bytes) -> None:
    """It would be counted, listed and banned as its balancer, with all the others."""
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE), proxies=PROXIES) as running:
        client = await running.connect(first)
        client.socket.shutdown(socket.SHUT_WR)
        assert await client.ended()
        await running.quiet()
        assert (running.trace.refusals, running.trace.sessions) == (["no_proxy_header"], [])
        assert running.trace.refused_clients == [client.socket.getsockname()]


async def test_the_cap_is_exact_when_headers_never_come(clock: MockClock, nursery: trio.Nursery) -> None:
    """A balancer that stalls would else take descriptors that nothing counts; or places for ever."""
    server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
    bounds = limits(connections=3, connections_per_network=1)
    pool = pool_of(server.address)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, bounds, rules=NOBODY, proxies=PROXIES) as running:
        mute = [await running.connect(first) for first in (b"", header()[:27])]
        last = await running.connect()
        await wait_all_tasks_blocked(0.01)
        assert running.door.used == 3
        assert await (await running.connect()).ended()
        assert await (await running.connect(source=STRANGER)).ended()
        assert running.trace.refusals == ["over_capacity"] * 2
        await last.send(header())  # its place becomes its client's
        await last.start_tls()
        assert running.door.used == 3
        began = trio.current_time()
        for client in mute:
            assert await client.ended()
        assert trio.current_time() - began < 5.2
        assert running.trace.refusals[2:] == ["no_proxy_header"] * 2
        assert running.door.used == 1
        await running.logged_in(header("203.0.113.8"))


async def test_caps_count_the_clients_not_their_balancer(nursery: trio.Nursery) -> None:
    bounds = limits(connections_per_network=1)
    pool = pool_of(NOWHERE)
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool, bounds, rules=NOBODY, proxies=PROXIES) as running:
        for client in ("203.0.113.7", "203.0.113.8", "2001:db8::1"):
            assert (await (await running.connect(header(client))).line()).startswith(b"* OK")
        for client in ("203.0.113.7", "::ffff:203.0.113.7", "2001:db8::2"):
            assert (await (await running.connect(header(client, 5))).line()).startswith(b"* BYE")
        assert running.trace.refusals == ["over_network_cap"] * 3
        assert running.trace.refused_clients == [("203.0.113.7", 5), ("203.0.113.7", 5), ("2001:db8::2", 5)]


async def test_lists_and_bans_are_of_clients(nursery: trio.Nursery) -> None:
    """One client's ban must not shut out all that its balancer brings; nor may the balancer's shelter it."""
    rules = load_rules(Admission(block=(IPv4Network("203.0.113.0/24"),), trust=(IPv4Network("127.0.0.0/8"),)))
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE), rules=rules, proxies=PROXIES) as running:
        running.rooms.bans.add(parse_network("198.51.100.7")[0], 60.0, "guesses")
        for client in ("203.0.113.7", "198.51.100.7"):
            assert (await (await running.connect(header(client))).line()).startswith(b"* BYE")
        assert running.trace.refusals == ["blocked", "banned"]
        assert (await (await running.connect(header("198.51.100.8"))).line()).startswith(b"* OK")


@each_local
async def test_a_balancer_that_looks_whether_we_are_here(
    clock: MockClock, nursery: trio.Nursery, header: bytes
) -> None:
    """It isn't counted as a client, and no ban ends its looks: that would take us out of service."""
    server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
    bounds, bans = limits(connections_per_network=1, connections=2), Bans(failures=1)
    pool = pool_of(server.address)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, bounds, rules=NOBODY, bans=bans, proxies=PROXIES) as running:
        looks = [await running.secure(header) for _ in range(2)]
        assert running.trace.clients == [client.socket.getsockname() for client in looks]
        assert await (await running.connect(header)).ended()
        assert running.trace.refusals == ["over_capacity"]
        for _ in range(2):
            assert (await looks[0].log_in("wrong")).startswith(looks[0].speech.refused)
        assert not running.rooms.told.banned_networks


@pytest.mark.parametrize("first", [header(), *LOCAL.values()], ids=["client", *LOCAL])
async def test_the_header_is_read_within_the_greetings_time(clock: MockClock, first: bytes) -> None:
    """greeting_timeout is from the accept; and where it is shorter, no header has longer."""
    async with gate(
        Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE), limits(greeting_timeout=6.0), proxies=PROXIES
    ) as running:
        client = await running.connect()
        began = trio.current_time()
        await trio.sleep(4)
        await client.send(first)
        assert (await client.line()).startswith(b"* OK")
        assert (await client.line()).startswith(b"* BYE")
        assert 6 <= trio.current_time() - began < 6.3
    async with gate(
        Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE), limits(greeting_timeout=2.0), proxies=PROXIES
    ) as running:
        client = await running.connect()
        began = trio.current_time()
        assert await client.ended()
        assert 2 <= trio.current_time() - began < 2.3


async def test_an_end_while_headers_are_awaited() -> None:
    """``gate`` checks that no place stays taken."""
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(NOWHERE), proxies=PROXIES) as running:
        await running.connect(header()[:20])
        await wait_all_tasks_blocked(0.01)
        assert running.door.used == 1


async def test_who_waits_for_the_last_hears_of_one_that_is_turned_away(nursery: trio.Nursery) -> None:
    """A drain would wait to its last second for nobody."""
    rules = load_rules(Admission(block=(IPv4Network("203.0.113.0/24"),)))
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(NOWHERE), rules=rules, proxies=PROXIES) as running:
        client = await running.connect()
        await wait_all_tasks_blocked(0.01)
        assert running.door.used == 1
        nursery.start_soon(client.send, header())
        await running.quiet()
        assert running.trace.refusals == ["blocked"]


@pytest.mark.skipif(not ipv6(), reason="no IPv6 here")
async def test_a_balancer_that_comes_by_ipv4_to_an_ipv6_socket(nursery: trio.Nursery) -> None:
    """Its prefix is an IPv4 one: without this the header is garbage, and everybody is locked out."""
    listener, trace = listener_on(bind(HostPort("::", 0)), nursery)
    listener.service = replace(listener.service, proxies=PrefixSet([(parse_network("127.0.0.1")[0], "")]))
    nursery.start_soon(listener.run)
    async with await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) as client:
        await client.send_all(header())
        assert (await client.receive_some(4)) == b"* OK"
    assert trace.clients == [("203.0.113.7", 4711)]
    listener.stop()


# -- what goes wrong -------------------------------------------------------------------------------------


def listener_on(
    listening: socket.socket,
    sessions: trio.Nursery,
    protocol: Protocol = Protocol.IMAP,
    tls: TlsMode = TlsMode.STARTTLS,
    pool: Pool | None = None,
) -> tuple[Listener, ListenerRecords]:
    trace, bounds = ListenerRecords(), limits(connections=10)
    pool = pool or pool_of(NOWHERE)
    service = Service(protocol, tls, server_contexts(), pool, Pump(), bounds, HOSTNAME, ("PLAIN", "LOGIN"))
    rooms = admission(bounds, TRUSTING, Bans())
    house = House(service, rooms, trace, sessions)
    return Listener("gate", listening, service, rooms.door, house, trace), trace


class Failing(socket.socket):
    """A listening socket whose first accepts fail, as the kernel's do when the network is in trouble."""

    errors: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            raise OSError(self.errors.pop(0), "in trouble")
        return super().accept()


PASSING = (
    errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH,
)  # fmt: skip


@pytest.mark.parametrize("error", PASSING, ids=errno.errorcode.get)
async def test_an_error_of_one_connection_does_not_end_the_listener(nursery: trio.Nursery, error: int) -> None:
    """accept(2): Linux gives the new socket's pending network errors here."""
    with bind(HostPort("127.0.0.1", 0)) as bound:
        failing = Failing(fileno=bound.detach())
    failing.errors = [error, error]
    listener, trace = listener_on(failing, nursery)
    nursery.start_soon(listener.run)
    stream = await trio.open_tcp_stream(*failing.getsockname())
    assert (await stream.receive_some(4)) == b"* OK"
    assert trace.shortages == 0
    await stream.aclose()
    listener.stop()


async def test_an_error_of_the_socket_itself_ends_it(nursery: trio.Nursery) -> None:
    """A listener that is broken for good must not spin."""
    with bind(HostPort("127.0.0.1", 0)) as bound:
        failing = Failing(fileno=bound.detach())
    failing.errors = [errno.EINVAL]
    listener, _ = listener_on(failing, nursery)
    with (
        socket.create_connection(failing.getsockname()),
        pytest.RaisesGroup(pytest.RaisesExc(OSError, match="in trouble")),
    ):
        await listener.run()
    listener.stop()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open no descriptor more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_without_descriptors_it_waits_and_goes_on(clock: MockClock, nursery: trio.Nursery) -> None:
    """The sessions that are here go on, who comes waits in the backlog, and the processor isn't spent on asking."""
    server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        before = await running.logged_in()
        with socket.socket() as waiting:
            waiting.setblocking(False)
            with no_descriptors():
                with pytest.raises(BlockingIOError):
                    waiting.connect(running.address)
                await trio.sleep(0.35)
                assert b"NOOP" in await before.ask(b"b NOOP")
                assert running.trace.shortages == 1
                assert len(running.trace.sessions) == 1
                await trio.sleep(2)
                assert running.trace.shortages == 3  # once a second: the log isn't filled by what it is about
            await trio.sleep(0.15)
            assert len(running.trace.sessions) == 2


# -- stopping --------------------------------------------------------------------------------------------


async def test_stopping_leaves_the_sessions(nursery: trio.Nursery) -> None:
    server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        address = running.address
        relayed, waiting = await running.logged_in(), await running.secure()
        running.listener.stop()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address)
        assert b"NOOP" in await relayed.ask(b"b NOOP")
        assert (await waiting.log_in()).startswith(waiting.speech.granted)


async def test_stopping_before_it_runs(nursery: trio.Nursery) -> None:
    """A signal may come while the gateway starts."""
    listener, _ = listener_on(bind(HostPort("127.0.0.1", 0)), nursery)
    listener.stop()
    await listener.run()


async def test_stopping_twice(nursery: trio.Nursery) -> None:
    listener, _ = listener_on(bind(HostPort("127.0.0.1", 0)), nursery)
    nursery.start_soon(listener.run)
    await wait_all_tasks_blocked()
    listener.stop()
    listener.stop()


async def test_a_new_service_is_for_the_sessions_to_come() -> None:
    """A reload: who is here keeps the limits that it came under."""
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE)) as running:
        before = await running.connect()
        assert HOSTNAME.encode() in await before.line()
        old = running.listener.service
        running.house.service = running.listener.service = Service(
            old.protocol, old.tls, old.contexts, old.pool, old.pump, old.limits, "new.example.org", old.mechanisms
        )
        after = await running.connect()
        assert b"new.example.org" in await after.line()
        assert (await before.ask(b"a NOOP")).startswith(b"a OK")
