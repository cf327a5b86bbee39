"""What operators and their tools rely on: the session's log line, metrics, health; and secrets in none of them."""

from __future__ import annotations

import base64
import json
import poplib
import smtplib

import pytest

from tests.system.accounts import WRONG, User
from tests.system.clients import imap, mailbox, message, pop3, smtp, wait_for_mail
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway
from tests.system.peers import HOST, wait_until

SESSION_FIELDS = {
    "ts", "level", "event", "session", "client", "client_port", "listener", "tls_version", "cipher", "sni", "mechanism",
    "user", "backend", "result", "reason", "bytes_in", "bytes_out", "seconds",
}  # fmt: skip


def test_one_session_line_with_every_field(gate: Gateway, legacy_dovecot: Dovecot, user: User) -> None:
    with imap(gate, "imap", "starttls") as client:
        port = client.socket().getsockname()[1]
        client.authenticate("PLAIN", lambda _: user.plain)
        client.append("INBOX", "", "", message(user, "counted", b"x" * 10_000 + b"\r\n"))
    event = gate.event("session", lambda event: event["user"] == user.name)
    assert set(event) >= SESSION_FIELDS
    expected = {
        "client": HOST,
        "client_port": port,
        "listener": "imap",
        "tls_version": "TLSv1.3",
        "sni": "localhost",
        "mechanism": "PLAIN",
        "backend": f"{HOST}:{legacy_dovecot.imap}",
    }
    assert {key: event[key] for key in expected} == expected
    assert event["cipher"].startswith("TLS_")
    assert event["session"]
    assert event["result"]
    assert 10_000 < event["bytes_in"] < 12_000
    assert 0 < event["bytes_out"] < 10_000
    assert 0 < event["seconds"] < 30
    assert len([event for event in gate.events("session") if event["user"] == user.name]) == 1


def test_a_failed_login_can_be_matched_by_fail2ban(gate: Gateway, user: User) -> None:
    with pop3(gate, "pop3s", "implicit") as client:
        client.user(user.name)
        with pytest.raises(poplib.error_proto):
            client.pass_(WRONG)
    event = gate.event("auth_failed", lambda event: event["user"] == user.name)
    assert event["client"] == HOST
    assert event["mechanism"]
    assert event["reason"]


def test_a_message_is_on_record(gate: Gateway, user: User) -> None:
    with smtp(gate, "submissions", "implicit") as client:
        client.login(user.name, user.secret)
        client.sendmail(user.name, [user.name], message(user, "on record"))
    event = gate.event("message", lambda event: event["from"] == user.name)
    assert event["size"] == len(message(user, "on record"))
    assert event["recipients"] == 1
    assert event["reply"].startswith("250 ")


def test_metrics_and_health(gate: Gateway, user: User) -> None:
    before = gate.metric("tlsgate_logins_total", listener="imaps", result="ok")
    relayed = gate.metric("tlsgate_relayed_bytes_total", listener="imaps")
    with mailbox(gate, user) as client:
        assert gate.metric("tlsgate_sessions", listener="imaps") >= 1
        client.noop()
    gate.event("session", lambda event: event["user"] == user.name)
    assert gate.metric("tlsgate_logins_total", listener="imaps", result="ok") == before + 1
    assert gate.metric("tlsgate_relayed_bytes_total", listener="imaps") > relayed
    wait_until(lambda: gate.metric("tlsgate_sessions", listener="imaps") == 0, "no session is counted")
    assert gate.metric("tlsgate_tls_handshakes_total", listener="imaps") >= 1
    assert gate.metric("tlsgate_backend_up", pool="imap") == 1
    assert gate.metric("tlsgate_build_info") == 1
    assert gate.get("/healthz")[0] == 200
    assert gate.get("/nonesuch")[0] == 404


def test_secrets_are_nowhere(gate: Gateway, user: User) -> None:
    """Right and wrong secrets of every protocol, as they are and as they go over the wire, in no log and no metric."""
    wrong = User(user.name, WRONG)
    with imap(gate, "imaps", "implicit") as client:
        for who in (wrong, user):
            try:
                client.login(who.name, who.secret)
            except client.error:
                assert who is wrong
    with pop3(gate, "pop3s", "implicit") as reader:
        for who in (wrong, user):
            reader.user(who.name)
            try:
                reader.pass_(who.secret)
            except poplib.error_proto:
                assert who is wrong
    with smtp(gate, "submissions", "implicit") as sender:
        for who in (wrong, user):
            sender.user, sender.password = who.name, who.secret
            try:
                sender.auth("PLAIN", sender.auth_plain)
            except smtplib.SMTPAuthenticationError:
                assert who is wrong
        sender.sendmail(user.name, [user.name], message(user, "secret?"))
    with mailbox(gate, user) as client:
        wait_for_mail(client, 1)
    gate.event("message", lambda event: event["from"] == user.name)
    published = gate.log.read_text(encoding="utf-8") + gate.get("/metrics")[1]
    assert user.name in published
    for who in (wrong, user):
        for form in (who.secret, json.dumps(who.secret)[1:-1], _base64(who.secret.encode()), _base64(who.plain)):
            assert form not in published


def test_no_metric_names_a_user(gate: Gateway, user: User) -> None:
    with mailbox(gate, user):
        assert user.name not in gate.get("/metrics")[1]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
