"""What is counted of backends: numbers that live as long as somebody needs them, and no label of one that is gone."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tlsgate.ops.backend_metrics import BackendsCollector

ONE, TWO = ("imap", "192.0.2.1:143"), ("imap", "192.0.2.2:143")


@pytest.fixture
def backends() -> BackendsCollector:
    collector = BackendsCollector()
    collector.served = frozenset({ONE, TWO})
    return collector


def lines(backends: BackendsCollector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(backends)
    return generate_latest(registry).decode().splitlines()


def test_what_is_counted(backends: BackendsCollector) -> None:
    one = backends.backend(*ONE)
    one.connected()
    one.connected()
    one.disconnected()
    one.answered(0.003)
    one.failed("connect")
    one.up(False)
    told = lines(backends)
    labels = 'backend="192.0.2.1:143",pool="imap"'
    for line in (
        f"tlsgate_backend_up{{{labels}}} 0.0",
        f"tlsgate_backend_connections{{{labels}}} 1.0",
        f"tlsgate_backend_connect_seconds_count{{{labels}}} 1.0",
        'tlsgate_backend_connect_seconds_bucket{backend="192.0.2.1:143",le="0.001",pool="imap"} 0.0',
        'tlsgate_backend_connect_seconds_bucket{backend="192.0.2.1:143",le="0.005",pool="imap"} 1.0',
        'tlsgate_backend_failures_total{backend="192.0.2.1:143",pool="imap",reason="connect"} 1.0',
    ):
        assert line in told


def test_one_that_has_gone_is_told_of_until_its_last_connection_is_closed(backends: BackendsCollector) -> None:
    """An alert on tlsgate_backend_up == 0 would never end for a server that was taken away for good."""
    held, idle = backends.backend(*ONE), backends.backend(*TWO)
    held.connected()
    idle.up(False)
    backends.served = frozenset()
    assert any(ONE[1] in line for line in lines(backends))
    assert not any(TWO[1] in line for line in lines(backends))
    held.disconnected()
    for late in (held, idle):
        late.failed("closed")
        late.up(False)
    assert not any(address in line for _, address in (ONE, TWO) for line in lines(backends))


def test_one_that_comes_back_goes_on_counting(backends: BackendsCollector) -> None:
    """A counter that is set back looks like a restart."""
    backends.backend(*ONE).failed("connect")
    backends.served = frozenset()
    backends.served = frozenset({ONE})
    backends.backend(*ONE).failed("connect")
    assert any(line.startswith("tlsgate_backend_failures_total{") and line.endswith(" 2.0") for line in lines(backends))
