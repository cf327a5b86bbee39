"""The admin address over a real socket."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tlsgate.config import HostPort, LogFormat, LogLevel
from tlsgate.listener import bind
from tlsgate.ops.admin import serve_admin
from tlsgate.ops.health import Health
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics


@contextmanager
def quiet_log() -> Iterator[EventLog]:
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    try:
        yield log
    finally:
        log.close()


@dataclass(frozen=True)
class Admin:
    port: int
    metrics: Metrics
    health: Health

    async def get(self, path: str) -> tuple[int, str, str]:
        """Status, content type, text."""

        def fetch() -> tuple[int, str, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                    return answer.status, answer.headers["content-type"], answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.headers["content-type"], error.read().decode()

        return await trio.to_thread.run_sync(fetch, limiter=trio.CapacityLimiter(1))


@pytest.fixture
async def admin(nursery: trio.Nursery) -> Admin:
    with quiet_log() as log:
        metrics, health = Metrics(log), Health()
        listening = bind(HostPort("127.0.0.1", 0))
        port = listening.getsockname()[1]
        nursery.start_soon(serve_admin, listening, metrics.registry, health, log)
        return Admin(port, metrics, health)


async def test_metrics_are_prometheus_text(admin: Admin) -> None:
    counted = admin.metrics.listener("imaps")
    counted.connection("accepted")
    counted.enter(Phase.LOGIN)
    counted.handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ok", 0.002)
    counted.login("PLAIN", "ok", 0.01)
    counted.relayed(10, 20)
    status, content_type, text = await admin.get("/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    lines = text.splitlines()
    assert 'tlsgate_connections_total{listener="imaps",result="accepted"} 1.0' in lines
    assert 'tlsgate_sessions{listener="imaps",phase="login"} 1.0' in lines
    assert 'tlsgate_logins_total{listener="imaps",mechanism="PLAIN",result="ok"} 1.0' in lines
    assert 'tlsgate_relayed_bytes_total{direction="down",listener="imaps"} 20.0' in lines
    assert "tlsgate_handshake_seconds_count 1.0" in lines
    assert any(line.startswith("tlsgate_build_info{") for line in lines)


async def test_healthz_and_readyz(admin: Admin) -> None:
    assert (await admin.get("/healthz"))[0] == 200
    assert (await admin.get("/readyz"))[0] == 503
    admin.health.ready = True
    assert (await admin.get("/readyz"))[0] == 200


async def test_metrics_while_every_thread_hangs_in_the_resolver(admin: Admin) -> None:
    """Name look-ups take trio's threads when DNS is dead: just when somebody looks at the metrics."""
    threads = trio.to_thread.current_default_thread_limiter()
    for _ in range(int(threads.total_tokens)):
        threads.acquire_on_behalf_of_nowait(object())
    with trio.fail_after(10):
        assert (await admin.get("/metrics"))[0] == 200


async def test_what_is_not_there_is_404(admin: Admin) -> None:
    assert (await admin.get("/nonesuch"))[0] == 404


async def test_nonsense_is_refused_and_the_next_is_served(admin: Admin) -> None:
    with trio.fail_after(10):
        for garbage in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000, b"\r\n" * 10):
            stream = await trio.open_tcp_stream("127.0.0.1", admin.port)
            async with stream:
                try:
                    await stream.send_all(garbage)
                    await stream.send_eof()
                    async for _ in stream:
                        pass
                except trio.BrokenResourceError:
                    pass
    assert (await admin.get("/healthz"))[0] == 200


async def test_over_a_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    from tlsgate.config import UnixPath

    path = tmp_path / "admin.sock"
    with quiet_log() as log:
        nursery.start_soon(serve_admin, bind(UnixPath(path)), Metrics(log).registry, Health(), log)
        with trio.fail_after(10):
            stream = await trio.open_unix_socket(path)
            async with stream:
                await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert b"".join([piece async for piece in stream]).startswith(b"HTTP/1.1 200")
