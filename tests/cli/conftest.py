"""A legacy backend and certificates for gateways that run as processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.system.certificates import Certificate, issue
from tests.system.gateway import Listener, Pool
from tlsgate.demo import DemoBackend, serve

USER, PASSWORD = "demo", "sec ret"
LISTENERS = [
    Listener("imaps", "imap", "implicit", "imap"),
    Listener("imap", "imap", "starttls", "imap"),
    Listener("submissions", "submission", "implicit", "smtp"),
]


@pytest.fixture(scope="session")
def backend() -> Iterator[DemoBackend]:
    """The sample backend, on a trio loop in a thread of its own."""
    started: list[tuple[DemoBackend, trio.CancelScope, trio.lowlevel.TrioToken]] = []
    ready = threading.Event()

    async def run() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                backend: DemoBackend = await nursery.start(partial(serve, {USER: PASSWORD}))
                started.append((backend, scope, trio.lowlevel.current_trio_token()))
                ready.set()

    thread = threading.Thread(target=trio.run, args=(run,), daemon=True)
    thread.start()
    assert ready.wait(20)
    running, scope, token = started[0]
    yield running
    token.run_sync_soon(scope.cancel)
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def pools(backend: DemoBackend) -> list[Pool]:
    return [Pool("imap", backend.imap_port), Pool("smtp", backend.smtp_port)]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificates") / "first", "localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificates") / "second", "localhost", "127.0.0.1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a gateway may put its files; it makes the directory."""
    return tmp_path / "gateway"
