"""The admin address over a real socket."""

from __future__ import annotations

import io
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.ops.admin_address import Admin, Nowhere, Told, serving
from tlsgate.admission.bans import Bans
from tlsgate.config import LogFormat, LogLevel, UnixPath
from tlsgate.controls import Controls
from tlsgate.ops.admin import serve_admin
from tlsgate.ops.health import Health
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with serving() as admin:
        yield admin


async def test_metrics_are_prometheus_text(admin: Admin) -> None:
    counted = admin.metrics.listener("imaps")
    counted.connection("accepted")
    counted.enter(Phase.LOGIN)
    counted.handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ok", 0.002)
    counted.login("PLAIN", "ok", 0.01)
    counted.relayed(10, 20)
    answer = await admin.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.body.decode().splitlines()
    assert 'tlsgate_connections_total{listener="imaps",result="accepted"} 1.0' in lines
    assert 'tlsgate_sessions{listener="imaps",phase="login"} 1.0' in lines
    assert 'tlsgate_logins_total{listener="imaps",mechanism="PLAIN",result="ok"} 1.0' in lines
    assert 'tlsgate_relayed_bytes_total{direction="down",listener="imaps"} 20.0' in lines
    assert "tlsgate_handshake_seconds_count 1.0" in lines
    assert any(line.startswith("tlsgate_build_info{") for line in lines)


async def test_healthz_and_readyz(admin: Admin) -> None:
    assert (await admin.ask("GET", "/healthz")).status == 200
    assert (await admin.ask("GET", "/readyz")).status == 503
    admin.health.ready = True
    assert (await admin.ask("GET", "/readyz")).status == 200


async def test_metrics_while_every_thread_hangs_in_the_resolver(admin: Admin) -> None:
    """Name look-ups take trio's threads when DNS is dead: just when somebody looks at the metrics."""
    threads = trio.to_thread.current_default_thread_limiter()
    for _ in range(int(threads.total_tokens)):
        threads.acquire_on_behalf_of_nowait(object())
    with trio.fail_after(10):
        assert (await admin.ask("GET", "/metrics")).status == 200


async def test_what_is_not_there_is_404(admin: Admin) -> None:
    assert (await admin.ask("GET", "/nonesuch")).status == 404


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
    assert (await admin.ask("GET", "/healthz")).status == 200


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    async with serving(UnixPath(tmp_path / "admin.sock")) as admin:
        assert (await admin.ask("GET", "/healthz")).status == 200


async def test_a_fault_ends_the_admin_address_alone_and_is_logged() -> None:
    """Out of serve_admin it would take the sessions with it."""
    written = io.BytesIO()
    log = EventLog(written, LogFormat.JSON, LogLevel.INFO)
    try:
        controls = Controls(Bans(Told()), lambda: None, Nowhere())
        with socket.socket() as not_listening, trio.fail_after(10):
            await serve_admin(not_listening, Metrics(log).registry, Health(), controls, log)
    finally:
        log.close()
    assert b'"admin_failed"' in written.getvalue()
