"""docs/metrics-and-log.md has every metric and every log event, as the code has them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from enum import StrEnum

import pytest

from tests.docs.log_events import OF_SESSIONS, logged
from tests.docs.pages import ROOT
from tests.docs.tables import Row, rows
from tlsgate.admission.dnsbl import Result as DnsblResult
from tlsgate.admission.helo import Helo
from tlsgate.admission.screening import Outcome
from tlsgate.admission.verdict import Verdict
from tlsgate.backends.faults import Reason
from tlsgate.config import LogFormat, LogLevel
from tlsgate.dialogue.smtp_data import BodyFault
from tlsgate.mail.spf.result import Result as SpfResult
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics

PAGE = ROOT / "docs" / "metrics-and-log.md"


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    """Metrics in which each has a sample."""
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    metrics = Metrics(log)
    metrics.shared_state(lambda: 1, lambda: 0)
    metrics.config_reload.labels("ok").inc()
    metrics.certificate_expiry.labels("fullchain.pem").set(1)
    metrics.backends.backend("imap", "10.0.0.5:143").failed("tls")
    metrics.backends.served = frozenset({("imap", "10.0.0.5:143")})
    metrics.screening.here.screened("spf", "pass")
    listener = metrics.listener("imaps")
    listener.connection("accepted")
    listener.handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ok", 0.01)
    listener.login("PLAIN", "ok", 0.02)
    listener.message("accepted")
    listener.refused_by("sender")
    yield metrics
    log.close()


def test_every_metric_is_told_with_its_labels(metrics: Metrics) -> None:
    """Else an alert is written for a name that nothing is exported by."""
    exported: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        if not family.name.startswith("process_"):
            assert family.samples, f"{family.name} has no sample here"
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = set().union(*(sample.labels for sample in family.samples)) - {"le"}
            exported[name] = labels
    assert {row.name: row.names(0) for row in rows(PAGE, "metric")} == exported


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("tlsgate_connections_total", Verdict),
        ("tlsgate_sessions", Phase),
        ("tlsgate_backend_failures_total", Reason),
        ("tlsgate_messages_total", BodyFault),
        ("tlsgate_screening_total", DnsblResult),
        ("tlsgate_screening_total", Helo),
        ("tlsgate_screening_total", SpfResult),
        ("tlsgate_screening_total", Outcome),
    ],
)
def test_values_of_labels_are_told(metric: str, words: type[StrEnum]) -> None:
    (row,) = (row for row in rows(PAGE, "metric") if row.name == metric)
    assert set(words) <= row.names(1)


def test_every_event_is_told_with_its_levels_and_fields() -> None:
    """Else a filter waits for a field that isn't there, or an event comes that nobody can look up."""
    of_sessions, others = rows(PAGE, "event of a session"), rows(PAGE, "other event")
    told = {row.name: (True, _levels(row), row.names(1)) for row in of_sessions}
    told |= {row.name: (False, _levels(row), row.names(1)) for row in others}
    events = {name: (event.of_session, event.levels, event.fields) for name, event in logged().items()}
    assert told == events


def _levels(row: Row) -> set[str]:
    return set(row.cells[0].split(", "))


def test_what_every_event_of_a_session_has_is_told() -> None:
    heading = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| event of a"))
    assert all(f"`{name}`" in heading for name in OF_SESSIONS)
