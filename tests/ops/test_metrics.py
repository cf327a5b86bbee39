"""Metrics: the names and labels that dashboards are built on."""

from __future__ import annotations

import io

import pytest
from prometheus_client import generate_latest

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.merging import dump
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.screening_metrics import ScreeningMetrics

CONTRACT = {
    "tlsgate_connections": {"listener", "result"},
    "tlsgate_sessions": {"listener", "phase"},
    "tlsgate_tls_handshakes": {"listener", "version", "cipher", "result"},
    "tlsgate_handshake_seconds": set(),
    "tlsgate_logins": {"listener", "mechanism", "result"},
    "tlsgate_login_seconds": set(),
    "tlsgate_cleartext_auth_refused": {"listener"},
    "tlsgate_relayed_bytes": {"listener", "direction"},
    "tlsgate_session_seconds": set(),
    "tlsgate_backend_up": {"pool", "backend"},
    "tlsgate_backend_connections": {"pool", "backend"},
    "tlsgate_backend_connect_seconds": {"pool", "backend"},
    "tlsgate_backend_failures": {"pool", "backend", "reason"},
    "tlsgate_messages": {"listener", "result"},
    "tlsgate_mail_refused": {"listener", "rule"},
    "tlsgate_screening": {"check", "result"},
    "tlsgate_certificate_expiry_timestamp_seconds": {"certificate"},
    "tlsgate_config_reload": {"result"},
    "tlsgate_build_info": {"version", "openssl"},
}


@pytest.fixture
def metrics() -> Metrics:
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    log.close()
    return Metrics(log)


def test_every_metric_of_the_contract_has_its_labels(metrics: Metrics) -> None:
    listener = metrics.listener("imaps")
    listener.connection("accepted")
    listener.handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ok", 0.1)
    listener.login("PLAIN", "ok", 0.1)
    listener.message("accepted")
    listener.refused_by("sender")
    listener.session_ended(1.0)
    backend = metrics.backends.backend("imap", "192.0.2.1:143")
    metrics.backends.served = frozenset({("imap", "192.0.2.1:143")})
    backend.answered(0.1)
    backend.failed("connect")
    metrics.screening.here.screened("dnsbl", "reject")
    metrics.certificate_expiry.labels("a.pem").set(1)
    metrics.config_reload.labels("ok").inc()
    told = {family.name: family for family in metrics.registry.collect()}
    for name, labels in CONTRACT.items():
        assert told[name].samples, name
        assert set(told[name].samples[0].labels) - {"le"} == labels, name


def test_phases_come_and_go(metrics: Metrics) -> None:
    listener = metrics.listener("imaps")
    for phase in Phase:
        listener.enter(phase)
    listener.leave(Phase.HANDSHAKE)
    text = generate_latest(metrics.registry).decode()
    assert 'tlsgate_sessions{listener="imaps",phase="handshake"} 0.0' in text
    assert 'tlsgate_sessions{listener="imaps",phase="relay"} 1.0' in text


def test_two_listeners_are_counted_apart(metrics: Metrics) -> None:
    one, two = metrics.listener("one"), metrics.listener("two")
    one.cleartext_auth_refused()
    one.message("accepted")
    two.message("accepted")
    two.message("accepted")
    text = generate_latest(metrics.registry).decode()
    assert 'tlsgate_messages_total{listener="one",result="accepted"} 1.0' in text
    assert 'tlsgate_messages_total{listener="two",result="accepted"} 2.0' in text
    assert 'tlsgate_cleartext_auth_refused_total{listener="two"} 0.0' in text


def test_histograms_are_cumulative_over_all_listeners(metrics: Metrics) -> None:
    one, two = metrics.listener("one"), metrics.listener("two")
    for listener, seconds in ((one, 0.5), (one, 45.0), (two, 45.0), (two, 100_000.0)):
        listener.session_ended(seconds)
    lines = generate_latest(metrics.registry).decode().splitlines()
    for le, count in (("1.0", 1.0), ("30.0", 1.0), ("60.0", 3.0), ("86400.0", 3.0), ("+Inf", 4.0)):
        assert f'tlsgate_session_seconds_bucket{{le="{le}"}} {count}' in lines
    assert "tlsgate_session_seconds_count 4.0" in lines
    assert "tlsgate_session_seconds_sum 100090.5" in lines


def test_a_listener_that_comes_back_goes_on_counting(metrics: Metrics) -> None:
    """A reload must not set a counter back: Prometheus would take it for a restart."""
    metrics.listener("imaps").connection("accepted")
    metrics.listener("imaps").connection("accepted")
    assert (
        'tlsgate_connections_total{listener="imaps",result="accepted"} 2.0'
        in generate_latest(metrics.registry).decode()
    )


def test_checks_of_other_processes_are_added(metrics: Metrics) -> None:
    metrics.screening.here.screened("dnsbl", "listed")
    other = ScreeningMetrics()
    other.screened("dnsbl", "listed")
    other.screened("helo", "our_name")
    metrics.screening.elsewhere = lambda: [dump(other)]
    for _ in range(2):  # a scrape changes nothing
        text = generate_latest(metrics.registry).decode()
        assert 'tlsgate_screening_total{check="dnsbl",result="listed"} 2.0' in text
        assert 'tlsgate_screening_total{check="helo",result="our_name"} 1.0' in text
