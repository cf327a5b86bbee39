"""The composition: what a start and a reload put into force, and that a reload that fails changes nothing."""

from __future__ import annotations

import io
import os
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from prometheus_client import generate_latest

from tests.gate import HOSTNAME, Client, authority
from tests.legacy_server import LegacyServer, imap
from tlsgate.config import LogFormat, LogLevel, Protocol, load
from tlsgate.gateway import Gateway
from tlsgate.ops.log import EventLog, Field
from tlsgate.ops.metrics import Metrics
from tlsgate.prepared import Prepared, prepare

pytestmark = pytest.mark.timeout(60)

Event = dict[str, Field]


class Log(EventLog):
    """A log whose events can be waited for."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
        self.told: list[tuple[str, Event]] = []
        self._more = trio.Event()

    def write(self, event: str, level: str, fields: Mapping[str, Field]) -> None:
        self.told.append((event, {"level": level, **fields}))
        self._more.set()
        self._more = trio.Event()

    def all(self, name: str) -> list[Event]:
        return [fields for event, fields in self.told if event == name]

    async def next(self, *names: str) -> Event:
        """The first event of these names that is told from now on."""
        seen = len(self.told)
        while True:
            for event, fields in self.told[seen:]:
                if event in names:
                    return fields
            await self._more.wait()


@dataclass
class Running:
    """A gateway in this process, and its clients."""

    log: Log
    metrics: Metrics
    address: str
    clients: list[Client]

    async def reload(self) -> Event:
        """SIGHUP; the event that says how it went."""
        told: list[Event] = []

        async def listen() -> None:
            told.append(await self.log.next("config_reloaded", "config_rejected"))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await trio.lowlevel.checkpoint()
                os.kill(os.getpid(), signal.SIGHUP)
        return told[0]

    async def connect(self) -> Client:
        host, _, port = self.address.rpartition(":")
        self.clients.append(Client(await trio.open_tcp_stream(host, int(port)), Protocol.IMAP))
        return self.clients[-1]

    async def log_in(self) -> tuple[Client, bytes]:
        client = await self.connect()
        await client.start_tls()
        await client.line()
        return client, await client.log_in()

    def told(self, text: str) -> list[str]:
        """The lines of /metrics that hold ``text``."""
        return [line for line in generate_latest(self.metrics.registry).decode().splitlines() if text in line]


def config(
    directory: Path, backends: str, limits: str = "", *, admin: str = "127.0.0.1:0", server: str = 'drain = "10ms"'
) -> Path:
    """A config file with one implicit TLS listener for IMAP at any port."""
    chain, key, path = directory / "chain.pem", directory / "key.pem", directory / "tlsgate.toml"
    if not chain.exists():
        issued = authority().issue_cert(HOSTNAME)
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
    path.write_text(f"""
[server]
hostname = "{HOSTNAME}"
{server}
[tls]
certificate = "{chain}"
private_key = "{key}"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:0"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{backends}]
health_interval = "1h"
[limits]
{limits}
[admin]
address = "{admin}"
""")
    return path


def at(server: LegacyServer, rest: str = "") -> str:
    return f'{{ address = "{server.address}"{rest} }}'


def reading(path: Path) -> Prepared:
    return prepare(load(path))


@asynccontextmanager
async def running(
    path: Path, *, descriptors: int = 100_000, reread: Callable[[Path], Prepared] = reading
) -> AsyncIterator[Running]:
    log = Log()
    metrics = Metrics(log)
    gateway = Gateway(reading(path), lambda: reread(path), log, metrics, descriptors)
    address = gateway.bind()["imaps"]
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(gateway.run)
            gate = Running(log, metrics, address, [])
            yield gate
            os.kill(os.getpid(), signal.SIGTERM)
        for client in gate.clients:
            client.close()
    finally:
        log.close()


async def legacy(nursery: trio.Nursery) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
    return server


# -- start -----------------------------------------------------------------------------------------------


async def test_it_is_ready_when_it_greets_and_not_before(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A load balancer that is told too early sends clients into a wall."""
    path, log = config(tmp_path, at(await legacy(nursery))), Log()
    metrics = Metrics(log)
    gateway = Gateway(reading(path), lambda: reading(path), log, metrics, 1000)
    gate = Running(log, metrics, gateway.bind()["imaps"], [])
    nursery.start_soon(gateway.run)
    while not log.all("started"):
        assert not gateway.health.ready
        await trio.lowlevel.checkpoint()
    assert gateway.health.ready
    client = await gate.connect()
    await client.start_tls()
    assert (await client.line()).startswith(b"* OK")
    client.close()
    os.kill(os.getpid(), signal.SIGTERM)
    await log.next("stopped")
    assert not gateway.health.ready
    log.close()


async def test_a_drain_that_ends_as_it_begins_ends_in_order(nursery: trio.Nursery, tmp_path: Path) -> None:
    """Who waits for a second signal must not outlive the signals: the process would end with a traceback."""
    path = config(tmp_path, at(await legacy(nursery)), server='drain = "0s"')
    for _ in range(10):  # which of two tasks trio runs first is chance
        async with running(path) as gate:
            await gate.log_in()
        assert gate.log.all("stopped")


@pytest.mark.parametrize("reloads", [1, 3])
async def test_a_reload_that_hangs_does_not_hold_up_the_end(
    nursery: trio.Nursery, tmp_path: Path, reloads: int
) -> None:
    """A disk that is away, and a gateway that only SIGKILL ends: its clients are cut off without a word."""
    reading_it, answers = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def reread(path: Path) -> Prepared:
        token.run_sync_soon(reading_it.set)
        answers.wait()
        return reading(path)

    try:
        with trio.fail_after(20):
            async with running(config(tmp_path, at(await legacy(nursery))), reread=reread) as gate:
                for _ in range(reloads):
                    os.kill(os.getpid(), signal.SIGHUP)
                    await reading_it.wait()
            assert gate.log.all("stopped")
    finally:
        answers.set()


async def test_there_are_no_more_sessions_than_descriptors_for_them(nursery: trio.Nursery, tmp_path: Path) -> None:
    """Without descriptors nothing is accepted, refused or told at all: the admin address dies with the listeners."""
    server = await legacy(nursery)
    async with running(config(tmp_path, at(server), "connections = 50"), descriptors=104) as gate:
        assert gate.log.all("few_descriptors") == [
            {"level": "warning", "key": "limits.connections", "descriptors": 104, "wanted": 50, "connections": 2}
        ]
        (one, _), (two, _) = await gate.log_in(), await gate.log_in()
        third = await gate.connect()
        assert await third.ended()
        config(tmp_path, at(server), "connections = 2")
        await gate.reload()
        assert len(gate.log.all("few_descriptors")) == 1
        config(tmp_path, at(server), "connections = 3")
        await gate.reload()
        assert gate.log.all("few_descriptors")[1]["connections"] == 2
        assert await (await gate.connect()).ended()
        one.close()
        two.close()


async def test_certificates_that_clients_refuse_are_logged_at_start_and_at_a_reload(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    issued = authority().issue_cert("elsewhere.example", not_before=past - timedelta(days=9), not_after=past)
    chain = tmp_path / "chain.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    async with running(config(tmp_path, at(await legacy(nursery)))) as gate:
        for times in (1, 2):
            assert gate.log.all("certificate_expired") == times * [
                {"level": "warning", "about": str(chain), "reason": "EXPIRED"}
            ]
            assert len(gate.log.all("certificate_name")) == times
            await gate.reload()


# -- unix sockets ----------------------------------------------------------------------------------------


async def test_the_admin_socket_is_its_owners_and_goes_at_the_end(nursery: trio.Nursery, tmp_path: Path) -> None:
    admin = tmp_path / "admin"
    async with running(config(tmp_path, at(await legacy(nursery)), admin=f"unix:{admin}")):
        assert admin.stat().st_mode & 0o777 == 0o600
        async with await trio.open_unix_socket(admin) as client:
            await client.send_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await client.receive_some(12)) == b"HTTP/1.1 200"
    assert not admin.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_the_admin_socket_is_reached_by_the_user_that_we_become(nursery: trio.Nursery, tmp_path: Path) -> None:
    admin = tmp_path / "admin"
    path = config(tmp_path, at(await legacy(nursery)), admin=f"unix:{admin}", server='user = "nobody"')
    async with running(path):
        assert admin.stat().st_uid == 65534


# -- reload ----------------------------------------------------------------------------------------------


async def test_any_fault_of_a_reload_is_logged_and_changes_nothing(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A gateway that falls over a fault nobody thought of takes every session with it."""

    def faulty(_path: Path) -> Prepared:
        raise LookupError("which may hold a secret")

    async with running(config(tmp_path, at(await legacy(nursery))), reread=faulty) as gate:
        reason = (await gate.reload())["reason"]
        assert isinstance(reason, str)
        assert reason.startswith("LookupError in test_gateway.py:")
        assert gate.told('tlsgate_config_reload_total{result="rejected"} 1.0')
        client, said = await gate.log_in()
        assert said.startswith(b"a OK")
        client.close()


async def test_a_rejected_reload_brings_no_backend_into_the_metrics(nursery: trio.Nursery, tmp_path: Path) -> None:
    server = await legacy(nursery)
    path = config(tmp_path, at(server))
    async with running(path) as gate:
        text = config(tmp_path, '{ address = "192.0.2.9:143" }').read_text()
        path.write_text(text.replace('name = "imaps"', 'name = "new"').replace("127.0.0.1:0", "192.0.2.8:143", 1))
        assert "192.0.2.8" in str((await gate.reload())["reason"])
        assert not gate.told("192.0.2.9")
        assert gate.told(f'tlsgate_backend_up{{backend="{server.address}",pool="imap"}} 1.0')


async def test_a_reload_with_every_thread_hanging_in_the_resolver(nursery: trio.Nursery, tmp_path: Path) -> None:
    """DNS is dead, and the operator puts an address into the config instead of the name."""
    async with running(config(tmp_path, at(await legacy(nursery)))) as gate:
        threads = trio.to_thread.current_default_thread_limiter()
        for _ in range(int(threads.total_tokens)):
            threads.acquire_on_behalf_of_nowait(object())
        assert "listeners" in await gate.reload()


async def test_a_reload_changes_the_connection_limit_of_backends(nursery: trio.Nursery, tmp_path: Path) -> None:
    server = await legacy(nursery)
    async with running(config(tmp_path, at(server))) as gate:
        first, said = await gate.log_in()
        assert said.startswith(b"a OK")
        config(tmp_path, at(server), "backend_connections = 1")
        await gate.reload()
        second, said = await gate.log_in()
        assert said.startswith(b"a NO [UNAVAILABLE]")
        first.close()
        second.close()


async def test_a_backend_that_a_reload_removes_leaves_the_metrics_with_its_last_session(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    """An alert on tlsgate_backend_up == 0 would never end."""
    held, kept = await legacy(nursery), await legacy(nursery)
    async with running(config(tmp_path, f"{at(held)}, {at(kept, ', priority = 20')}")) as gate:
        client, _ = await gate.log_in()
        config(tmp_path, at(kept))
        await gate.reload()
        assert gate.told(f'tlsgate_backend_connections{{backend="{held.address}",pool="imap"}} 1.0')
        session = gate.log.next("session")
        client.close()
        await session
        assert not gate.told(str(held.address))
        assert gate.told(f'tlsgate_backend_up{{backend="{kept.address}",pool="imap"}} 1.0')


async def test_a_reload_reads_the_cas_of_kept_pools_again(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A CA file that was renewed in place: the pool's settings are the same, what it trusts isn't."""
    context, ca = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path / "ca.pem"
    authority().issue_cert("127.0.0.1").configure_cert(context)
    listeners = await nursery.start(trio.serve_ssl_over_tcp, _greet, 0, context)
    port = listeners[0].transport_listener.socket.getsockname()[1]
    trustme.CA().cert_pem.write_to_path(ca)
    backend = f'{{ address = "127.0.0.1:{port}", tls = "implicit", ca = "{ca}" }}'
    async with running(config(tmp_path, backend)) as gate:
        assert [event["pool"] for event in gate.log.all("backend_down")] == ["imap"]
        authority().cert_pem.write_to_path(ca)
        up = trio.Event()

        async def listen() -> None:
            await gate.log.next("backend_up")
            up.set()

        nursery.start_soon(listen)
        assert "listeners" in await gate.reload()
        with trio.fail_after(20):
            await up.wait()


async def _greet(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """An IMAP server's side of a probe."""
    try:
        await stream.send_all(b"* OK [CAPABILITY IMAP4rev1] legacy\r\n")
        async for data in stream:
            tag = data.split()[0]
            await stream.send_all(b"* BYE see you\r\n" + tag + b" OK bye\r\n")
    except trio.BrokenResourceError:  # a client that doesn't trust us
        pass
