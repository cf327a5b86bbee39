"""What workers have counted, in the parent's metrics."""

from __future__ import annotations

import io
from collections.abc import Iterator

import msgspec
import pytest
from prometheus_client import generate_latest

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.client_report import Habit
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.workers.counts import Counts, dump_metrics

NOTED = {"habit": "starttls", "user": "ann", "count": 1, "last": 1.0, "client": "192.0.2.7", "listener": "imaps"}


@pytest.fixture
def log() -> Iterator[EventLog]:
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    yield log
    log.close()


@pytest.fixture
def parent(log: EventLog) -> Metrics:
    metrics = Metrics(log)
    metrics.listener("imaps")
    metrics.backends.backend("imap", "10.0.0.5:143")
    metrics.backends.served = frozenset({("imap", "10.0.0.5:143")})
    return metrics


def worker(log: EventLog, listener: str = "imaps") -> Metrics:
    """One that has accepted two connections, of which one is still there, and sees its backend down."""
    metrics = Metrics(log)
    counted = metrics.listener(listener)
    for _ in range(2):
        counted.connection("accepted")
    counted.enter(Phase.RELAY)
    backend = metrics.backends.backend("imap", "10.0.0.5:143")
    backend.connected()
    backend.failed("timeout")
    backend.up(False)
    return metrics


def told(metrics: Metrics, start: str) -> list[str]:
    return [line for line in generate_latest(metrics.registry).decode().splitlines() if line.startswith(start)]


ACCEPTED = 'tlsgate_connections_total{listener="imaps",result="accepted"}'
RELAYED = 'tlsgate_sessions{listener="imaps",phase="relay"}'
AT_BACKEND = 'tlsgate_backend_connections{backend="10.0.0.5:143",pool="imap"}'
UP = 'tlsgate_backend_up{backend="10.0.0.5:143",pool="imap"}'


def test_what_a_worker_has_counted_outlives_it_and_how_things_were_does_not(log: EventLog, parent: Metrics) -> None:
    """Counters that go back look like a restart; sessions of the dead would be there for ever."""
    counts, one, two = Counts(parent), object(), object()
    for each in (one, two):
        counts.note(each, dump_metrics(worker(log)))
    counts.note(two, dump_metrics(worker(log)))  # its last word counts, once
    assert told(parent, ACCEPTED) == [f"{ACCEPTED} 4.0"]
    assert told(parent, RELAYED) == [f"{RELAYED} 2.0"]
    assert told(parent, AT_BACKEND) == [f"{AT_BACKEND} 2.0"]
    assert told(parent, UP) == [f"{UP} 0.0"]
    for each in (one, two, two):
        counts.ended(each)
    assert told(parent, ACCEPTED) == [f"{ACCEPTED} 4.0"]
    assert told(parent, RELAYED) == [f"{RELAYED} 0.0"]
    assert told(parent, AT_BACKEND) == [f"{AT_BACKEND} 0.0"]
    assert told(parent, UP) == [f"{UP} 1.0"]


def test_old_clients_that_workers_have_seen_are_gathered_once(log: EventLog, parent: Metrics) -> None:
    counts, seeing = Counts(parent), worker(log)
    for name in ("it", "the other"):
        seeing.clients.note(Habit.STARTTLS, "ann", "192.0.2.7", "imaps")
        counts.note(name, dump_metrics(seeing))
        counts.note(name, dump_metrics(seeing))
        counts.ended(name)
    assert [(each.user, each.count) for each in parent.clients.rows(10)] == [("ann", 2)]
    assert seeing.clients.is_empty


def test_a_worker_names_no_listener_in_the_client_report(log: EventLog, parent: Metrics) -> None:
    seeing = worker(log)
    seeing.clients.note(Habit.STARTTLS, "ann", "192.0.2.7", "made up")
    Counts(parent).note("it", dump_metrics(seeing))
    assert parent.clients.is_empty


def test_a_worker_makes_no_labels(log: EventLog, parent: Metrics) -> None:
    counts = Counts(parent)
    counts.note("it", dump_metrics(worker(log, "made up")))
    assert not told(parent, 'tlsgate_connections_total{listener="made up"')
    counts.ended("it")
    assert not told(parent, 'tlsgate_connections_total{listener="made up"')


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"listeners": {"imaps": {"phases": 7}}, "backends": [], "screening": {}},
        {"listeners": {"imaps": {"phases": [["lunch", 1]]}}, "backends": [], "screening": {}},
        {"listeners": {}, "backends": [[["imap", "x"], {"connections": "many"}]], "screening": {}},
        {"listeners": {}, "backends": [], "screening": {"results": [[1]]}},
        {"listeners": {}, "backends": [], "screening": {}, "clients": [NOTED | {"habit": "lunch"}]},
        {"listeners": {}, "backends": [], "screening": {}, "clients": [NOTED | {"user": "x" * 101}]},
        {"listeners": {}, "backends": [], "screening": {}, "clients": [NOTED | {"count": 0}]},
    ],
)
def test_nonsense_is_refused_and_breaks_no_scrape(log: EventLog, parent: Metrics, nonsense: object) -> None:
    counts = Counts(parent)
    counts.note("it", dump_metrics(worker(log)))
    for dumped in (msgspec.msgpack.encode(nonsense), b"\xc1", b""):
        with pytest.raises(ValueError, match=r".+"):
            counts.note("it", dumped)
    assert told(parent, ACCEPTED) == [f"{ACCEPTED} 2.0"]
