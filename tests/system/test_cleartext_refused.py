"""A login before TLS is refused in the protocol's own words, is on record, and its secret is not."""

from __future__ import annotations

import base64

import pytest

from tests.system.accounts import User
from tests.system.gateway import Gateway
from tests.system.wire import Wire


def _on_record(gate: Gateway, user: User, listener: str) -> None:
    event = gate.event("cleartext_auth_refused", lambda event: event.get("user") == user.name)
    assert event["client"] == "127.0.0.1"
    assert gate.metric("tlsgate_cleartext_auth_refused_total", listener=listener) >= 1


def _never_shown(gate: Gateway, *secrets: str) -> None:
    logged = gate.log.read_text(encoding="utf-8")
    for secret in secrets:
        assert secret not in logged
        assert base64.b64encode(secret.encode()).decode() not in logged


def test_imap(gate: Gateway, user: User) -> None:
    with Wire(gate.ports["imap"]) as wire:
        assert wire.line().startswith(b"* OK")
        wire.send(b"a CAPABILITY\r\n")
        offered = wire.until(b"a OK")[0].split()
        assert b"LOGINDISABLED" in offered
        assert b"STARTTLS" in offered
        assert not [word for word in offered if word.startswith(b"AUTH=")]
        wire.send(f"b LOGIN {user.name} burned-imap\r\n".encode())
        assert wire.line().startswith(b"b NO [PRIVACYREQUIRED]")
        # A literal is refused before its octets are asked for.
        wire.send(b"c LOGIN {%d}\r\n" % len(user.name))
        assert wire.line().startswith(b"c NO [PRIVACYREQUIRED]")
        wire.send(b"d AUTHENTICATE PLAIN\r\n")
        assert wire.line().startswith(b"d NO [PRIVACYREQUIRED]")
        wire.send(b"e STARTTLS\r\n")
        assert wire.line().startswith(b"e OK")
        wire.start_tls(gate.ca)
        wire.send(b"f AUTHENTICATE PLAIN\r\n")
        assert wire.line().startswith(b"+")
        wire.send(base64.b64encode(user.plain) + b"\r\n")
        assert wire.until(b"f ")[-1].startswith(b"f OK")
    _on_record(gate, user, "imap")
    _never_shown(gate, "burned-imap")


def test_pop3(gate: Gateway, user: User) -> None:
    with Wire(gate.ports["pop3"]) as wire:
        assert wire.line().startswith(b"+OK")
        wire.send(b"CAPA\r\n")
        offered = wire.until(b".")
        assert b"STLS" in offered
        assert not [line for line in offered if line.startswith((b"SASL", b"USER"))]
        wire.send(f"USER {user.name}\r\n".encode())
        assert wire.line().startswith(b"-ERR")
        wire.send(b"PASS burned-pop3\r\n")
        assert wire.line().startswith(b"-ERR")
        wire.send(b"AUTH PLAIN " + base64.b64encode(b"\0who\0burned-pop3") + b"\r\n")
        assert wire.line().startswith(b"-ERR")
        wire.send(b"STLS\r\n")
        assert wire.line().startswith(b"+OK")
        wire.start_tls(gate.ca)
        wire.send(f"USER {user.name}\r\nPASS {user.secret}\r\n".encode())
        assert wire.line().startswith(b"+OK")
        assert wire.line().startswith(b"+OK")
    _on_record(gate, user, "pop3")
    _never_shown(gate, "burned-pop3", "\0who\0burned-pop3")


def test_smtp(gate: Gateway, user: User) -> None:
    burned = User(user.name, "burned-smtp")
    with Wire(gate.ports["submission"]) as wire:
        assert wire.line().startswith(b"220 ")
        wire.send(b"EHLO client.example.test\r\n")
        offered = [line[4:].split()[0] for line in wire.until(b"250 ")[1:]]
        assert b"STARTTLS" in offered
        assert b"AUTH" not in offered
        wire.send(b"AUTH PLAIN " + base64.b64encode(burned.plain) + b"\r\n")
        assert wire.line().startswith((b"538 5.7.11", b"530 5.7.0"))
        wire.send(b"AUTH LOGIN\r\n")
        assert wire.line().startswith((b"538 5.7.11", b"530 5.7.0"))
        wire.send(f"MAIL FROM:<{user.name}>\r\n".encode())
        assert wire.line().startswith(b"530 5.7.0")
        wire.send(b"STARTTLS\r\n")
        assert wire.line().startswith(b"220 ")
        wire.start_tls(gate.ca)
        wire.send(b"EHLO client.example.test\r\n")
        wire.until(b"250 ")
        wire.send(f"MAIL FROM:<{user.name}>\r\n".encode())
        assert wire.line().startswith(b"530 5.7.0")
        wire.send(b"AUTH PLAIN " + base64.b64encode(user.plain) + b"\r\n")
        assert wire.line().startswith(b"235 ")
    _on_record(gate, user, "submission")
    _never_shown(gate, "burned-smtp", "\0" + user.name + "\0burned-smtp")


@pytest.mark.parametrize(
    ("listener", "command", "greeting"),
    [
        ("imap", b"a STARTTLS\r\nb NOOP\r\n", b"* OK"),
        ("pop3", b"STLS\r\nCAPA\r\n", b"+OK"),
        ("submission", b"STARTTLS\r\nNOOP\r\n", b"220"),
    ],
)
def test_octets_behind_starttls_end_the_connection(
    gate: Gateway, listener: str, command: bytes, greeting: bytes
) -> None:
    """CVE-2011-0411 and its kin: what came in clear must not be taken for what came encrypted."""
    with Wire(gate.ports[listener]) as wire:
        assert wire.line().startswith(greeting)
        if listener == "submission":
            wire.send(b"EHLO client.example.test\r\n")
            wire.until(b"250 ")
        wire.send(command)
        while line := wire.line():
            assert not line.startswith((b"a OK", b"b OK", b"+OK", b"220", b"250")), line
        assert wire.ended()
