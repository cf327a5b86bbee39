"""What is told of a connection, as the log has it."""

from __future__ import annotations

import io
import json
from typing import Any

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.trace import ListenerTrace


class Told:
    """A listener's trace, and what it has logged."""

    def __init__(self) -> None:
        self._output = io.BytesIO()
        self._log = EventLog(self._output, LogFormat.JSON, LogLevel.INFO)
        self.metrics = Metrics(self._log)
        self.trace = ListenerTrace("imaps", Phase.RELAY, self.metrics.listener("imaps"), self._log)

    def events(self) -> list[dict[str, Any]]:
        self._log.close()
        return [json.loads(line) for line in self._output.getvalue().splitlines()]


def test_a_refused_connection_has_its_client() -> None:
    """Behind a balancer the port is all that tells one client's connection from another's."""
    told = Told()
    told.trace.refused("no_proxy_header", "203.0.113.7", 4711, "not a PROXY header")
    (event,) = told.events()
    assert {key: event[key] for key in event if key != "ts"} == {
        "level": "info",
        "event": "refused",
        "client": "203.0.113.7",
        "client_port": 4711,
        "listener": "imaps",
        "result": "no_proxy_header",
        "reason": "not a PROXY header",
    }


def test_a_backend_is_told_the_session_that_the_log_names() -> None:
    """Without that nobody finds a backend's line in our log, or ours in its."""
    told = Told()
    sessions = [told.trace.accepted("203.0.113.7", 4711) for _ in range(2)]
    for session in sessions:
        session.ended("lost", "closed")
    assert [event["session"] for event in told.events()] == [session.session_id for session in sessions]
    assert len({session.session_id for session in sessions}) == 2


def test_refusals_by_the_rules_of_submission_are_counted_and_their_news_logged() -> None:
    """The log names the account that was stolen; the counts say how hard it tries."""
    told = Told()
    session = told.trace.accepted("203.0.113.7", 4711)
    session.logged_in("PLAIN", "ann", "192.0.2.1:25", 0.1)
    for news in (True, False):
        session.quota_refused("messages", news)
        session.sender_refused("boss@example.org", news)
    assert told.metrics.listener("imaps").submission_refused == {("messages",): 2, ("sender",): 2}
    quota, sender = told.events()
    assert {key: quota[key] for key in ("event", "level", "client", "user", "quota")} == {
        "event": "quota", "level": "warning", "client": "203.0.113.7", "user": "ann", "quota": "messages",
    }  # fmt: skip
    assert {key: sender[key] for key in ("event", "level", "user", "from")} == {
        "event": "sender_refused", "level": "warning", "user": "ann", "from": "boss@example.org",
    }  # fmt: skip
