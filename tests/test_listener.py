"""Accepting: the cheap refusal, shortages, errors of the network, and stopping."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.gate import HOSTNAME, TRUSTING, ListenerRecords, admission, gate, limits, pool_of, server_contexts
from tests.legacy_server import LegacyServer, imap
from tests.test_session import SCRIPTS, each_mode, each_protocol
from tlsgate.config import Bans, HostPort, Protocol, TlsMode, UnixPath
from tlsgate.listener import Listener, bind
from tlsgate.relay import Pump
from tlsgate.session import Service

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
    listener, trace = listener_on(bind(HostPort("::", 0)))
    nursery.start_soon(listener.run, nursery)
    with socket.create_connection(("127.0.0.1", listener.socket.getsockname()[1])) as client:
        while not trace.clients:
            await wait_all_tasks_blocked()
        assert trace.clients == [client.getsockname()]
    listener.stop()


async def test_a_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    path = tmp_path / "gate"
    with bind(UnixPath(path)):
        pass
    listener, trace = listener_on(bind(UnixPath(path)))  # what a dead process has left is no hindrance
    nursery.start_soon(listener.run, nursery)
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


async def test_stopping_leaves_the_unix_socket_of_another(tmp_path: Path) -> None:
    """Who was started in our place would be cut off by our end."""
    path = tmp_path / "gate"
    listener, _ = listener_on(bind(UnixPath(path)))
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


# -- what goes wrong -------------------------------------------------------------------------------------


def listener_on(listening: socket.socket) -> tuple[Listener, ListenerRecords]:
    trace, bounds = ListenerRecords(), limits(connections=10)
    service = Service(
        Protocol.IMAP, TlsMode.STARTTLS, server_contexts(), pool_of(NOWHERE), Pump(), bounds, HOSTNAME, ("PLAIN",)
    )
    rooms = admission(bounds, TRUSTING, Bans())
    desk = rooms.desk(lambda visit: rooms.door.leave(visit.entry))
    return Listener(listening, service, rooms.door, desk, trace), trace


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
    listener, trace = listener_on(failing)
    nursery.start_soon(listener.run, nursery)
    stream = await trio.open_tcp_stream(*failing.getsockname())
    assert (await stream.receive_some(4)) == b"* OK"
    assert trace.shortages == 0
    await stream.aclose()
    listener.stop()


async def test_an_error_of_the_socket_itself_ends_it() -> None:
    """A listener that is broken for good must not spin."""
    with bind(HostPort("127.0.0.1", 0)) as bound:
        failing = Failing(fileno=bound.detach())
    failing.errors = [errno.EINVAL]
    listener, _ = listener_on(failing)
    async with trio.open_nursery() as sessions:
        with socket.create_connection(failing.getsockname()), pytest.raises(OSError, match="in trouble"):
            await listener.run(sessions)
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
    listener, _ = listener_on(bind(HostPort("127.0.0.1", 0)))
    listener.stop()
    await listener.run(nursery)


async def test_stopping_twice(nursery: trio.Nursery) -> None:
    listener, _ = listener_on(bind(HostPort("127.0.0.1", 0)))
    nursery.start_soon(listener.run, nursery)
    await wait_all_tasks_blocked()
    listener.stop()
    listener.stop()


async def test_a_new_service_is_for_the_sessions_to_come() -> None:
    """A reload: who is here keeps the limits that it came under."""
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE)) as running:
        before = await running.connect()
        assert HOSTNAME.encode() in await before.line()
        old = running.listener.service
        running.listener.service = Service(
            old.protocol, old.tls, old.contexts, old.pool, old.pump, old.limits, "new.example.org", old.mechanisms
        )
        after = await running.connect()
        assert b"new.example.org" in await after.line()
        assert (await before.ask(b"a NOOP")).startswith(b"a OK")
