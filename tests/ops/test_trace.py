"""What is told of a connection, as the log has it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.client_report import Habit
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.trace import ListenerTrace
from tlsgate.tls.accept import TlsFacts


class Told:
    """A listener's trace, and what it has logged."""

    def __init__(self, starttls: bool = False) -> None:
        self._output = io.BytesIO()
        self._log = EventLog(self._output, LogFormat.JSON, LogLevel.INFO)
        self.metrics = Metrics(self._log)
        counted, clients = self.metrics.listener("imaps"), self.metrics.clients
        self.trace = ListenerTrace("imaps", Phase.RELAY, counted, self._log, clients, starttls)

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
    assert told.metrics.listener("imaps").mail_refused == {("messages",): 2, ("sender",): 2}
    quota, sender = told.events()
    assert {key: quota[key] for key in ("event", "level", "client", "user", "quota")} == {
        "event": "quota", "level": "warning", "client": "203.0.113.7", "user": "ann", "quota": "messages",
    }  # fmt: skip
    assert {key: sender[key] for key in ("event", "level", "user", "from")} == {
        "event": "sender_refused", "level": "warning", "user": "ann", "from": "boss@example.org",
    }  # fmt: skip


def test_mail_of_servers_that_is_not_taken_has_its_sender_and_its_reason() -> None:
    """A postmaster who is asked "where is my mail" has nothing else to look for."""
    told = Told()
    session = told.trace.accepted("203.0.113.7", 4711)
    session.recipient_refused("eve@sender.example", "ann@elsewhere.example", "not_ours")
    session.screened("reject", 3, "listed by bl.test (127.0.0.2)", "eve@sender.example")
    session.screened("pass", 1, "SPF softfail for sender.example (~all)", "")
    session.no_backend("192.0.2.1:25: refused")
    session.backend_used("192.0.2.2:25")
    session.message("accepted", "eve@sender.example", 2, 1000, "250 2.0.0 Queued")
    session.ended("ok", "client closed")
    assert told.metrics.listener("imaps").mail_refused == {("relay",): 1}
    assert told.metrics.listener("imaps").messages == {("accepted",): 1}
    refused, rejected, passed, no_backend, message, ended = told.events()
    assert {key: refused[key] for key in ("event", "level", "client", "from", "to", "reason")} == {
        "event": "recipient_refused", "level": "warning", "client": "203.0.113.7", "from": "eve@sender.example",
        "to": "ann@elsewhere.example", "reason": "not_ours",
    }  # fmt: skip
    assert {key: rejected[key] for key in ("event", "level", "result", "score", "reason", "from")} == {
        "event": "screened", "level": "warning", "result": "reject", "score": 3,
        "reason": "listed by bl.test (127.0.0.2)", "from": "eve@sender.example",
    }  # fmt: skip
    assert (passed["level"], passed["result"], passed["from"]) == ("info", "pass", "")
    assert {key: no_backend[key] for key in ("event", "level", "reason")} == {
        "event": "no_backend", "level": "warning", "reason": "192.0.2.1:25: refused",
    }  # fmt: skip
    assert (message["from"], message["recipients"], message["reply"]) == ("eve@sender.example", 2, "250 2.0.0 Queued")
    assert (ended["event"], ended["backend"]) == ("session", "192.0.2.2:25")


def test_octets_in_clear_and_over_tls_are_one_session_s() -> None:
    told = Told()
    session = told.trace.accepted("203.0.113.7", 4711)
    session.relaying()
    session.relayed(10, 20)
    session.relaying()
    session.relayed(300, 400)
    session.ended("ok", "client closed")
    (event,) = told.events()
    assert (event["bytes_in"], event["bytes_out"]) == (310, 420)


@pytest.mark.parametrize(
    ("version", "sni", "starttls", "noted"),
    [
        ("TLSv1.3", "mail.example.org", False, set()),
        ("TLSv1.2", "mail.example.org", False, {Habit.OLD_TLS}),
        ("TLSv1.3", None, False, {Habit.NO_SNI}),
        ("TLSv1.3", "mail.example.org", True, {Habit.STARTTLS}),
        ("TLSv1.2", None, True, {Habit.OLD_TLS, Habit.NO_SNI, Habit.STARTTLS}),
    ],
)
def test_what_is_old_about_a_client_is_noted_with_its_user(
    version: str, sni: str | None, starttls: bool, noted: set[Habit]
) -> None:
    told = Told(starttls=starttls)
    session = told.trace.accepted("203.0.113.7", 4711)
    session.handshaken(TlsFacts(version=version, cipher="x", group="X25519", sni=sni), 0.1)
    assert told.metrics.clients.is_empty
    session.logged_in("PLAIN", "ann", "192.0.2.1:143", 0.1)
    rows = told.metrics.clients.rows(10)
    assert {each.habit for each in rows} == noted
    assert {(each.user, each.client, each.listener) for each in rows} <= {("ann", "203.0.113.7", "imaps")}


def test_who_tries_to_log_in_in_clear_is_noted_where_named() -> None:
    told = Told()
    session = told.trace.accepted("203.0.113.7", 4711)
    session.cleartext_auth_refused("PLAIN", None)
    session.cleartext_auth_refused("LOGIN", "ann")
    session.auth_failed("LOGIN", "eve", "wrong")
    assert [(each.habit, each.user) for each in told.metrics.clients.rows(10)] == [(Habit.CLEARTEXT, "ann")]
