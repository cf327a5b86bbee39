"""What the relay must carry unharmed once a client is logged in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.clients import body_of, fetched, large_body, mailbox, message, wait_for_mail
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.wire import Wire

IDLE_TIMEOUT = 6.0
QUIET = 3.0
"""Shorter than IDLE_TIMEOUT, and several ticks of the timer that enforces it."""


@pytest.fixture(scope="module")
def impatient(root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot) -> Iterator[Gateway]:
    """A gateway that ends a session after IDLE_TIMEOUT seconds without an octet."""
    with gateway(
        root / "impatient",
        gateway_certificate,
        [Listener("imaps", "imap", "implicit", "imap")],
        [Pool("imap", legacy_dovecot.imap)],
        limits=f'idle_timeout = "{IDLE_TIMEOUT:g}s"',
    ) as running:
        yield running


def _imap(gate: Gateway, user: User) -> Wire:
    wire = Wire(gate.ports["imaps"])
    wire.start_tls(gate.ca)
    assert wire.line().startswith(b"* OK")
    wire.send(b"a AUTHENTICATE PLAIN\r\n")
    assert wire.line().startswith(b"+")
    wire.send(base64.b64encode(user.plain) + b"\r\n")
    assert wire.until(b"a ")[-1].startswith(b"a OK")
    return wire


def test_idle_gets_a_push_after_silence_and_ends_at_idle_timeout(impatient: Gateway, user: User) -> None:
    with _imap(impatient, user) as idle:
        idle.send(b"b SELECT INBOX\r\n")
        idle.until(b"b OK")
        idle.send(b"c IDLE\r\n")
        idle.until(b"+ ")
        assert idle.silent_for(QUIET)
        with mailbox(impatient, user) as writer:
            writer.append("INBOX", "", "", message(user, "push"))
        assert idle.until(b"* 1 EXISTS")
        idle.send(b"DONE\r\n")
        assert idle.until(b"c ")[-1].startswith(b"c OK")
        assert idle.ended()
    ended = impatient.event("session", lambda event: event["user"] == user.name and event["seconds"] >= IDLE_TIMEOUT)
    assert "idle" in ended["reason"]


def test_compress_deflate(gate: Gateway, user: User) -> None:
    """RFC 4978: octets that mean nothing to the gateway pass through, both ways."""
    sent = message(user, "compressed", large_body(300_000))
    with _imap(gate, user) as wire:
        wire.send(b"b COMPRESS DEFLATE\r\n")
        assert wire.until(b"b ")[-1].startswith(b"b OK")
        wire.start_deflate()
        wire.send(b"c APPEND INBOX {%d}\r\n" % len(sent))
        assert wire.line().startswith(b"+")
        wire.send(sent + b"\r\n")
        assert wire.until(b"c ")[-1].startswith(b"c OK")
        wire.send(b"d SELECT INBOX\r\n")
        assert b"* 1 EXISTS" in wire.until(b"d OK")
        wire.send(b"e FETCH 1 (BODY.PEEK[])\r\n")
        lines = wire.until(b"e OK")
        assert sent in b"\r\n".join(lines)


def test_imap_commands_pipelined_behind_the_login(gate: Gateway, user: User) -> None:
    """All in one write: each reaches the backend once, in order, behind the login."""
    secret = user.secret.replace("\\", "\\\\").replace('"', '\\"')
    commands = [f'a LOGIN "{user.name}" "{secret}"', "b CREATE once", "c CREATE once", "d SELECT once", "e LOGOUT"]
    with Wire(gate.ports["imaps"]) as wire:
        wire.start_tls(gate.ca)
        wire.send("".join(f"{command}\r\n" for command in commands).encode())
        tagged = [line for line in wire.until(b"e ") if not line.startswith(b"*")]
        assert wire.ended()
    assert [line.split()[0] for line in tagged] == [b"a", b"b", b"c", b"d", b"e"]
    # The second CREATE fails because the first one was carried out: neither was lost, neither doubled.
    assert [line.split()[1] for line in tagged] == [b"OK", b"OK", b"NO", b"OK", b"OK"]


def test_pop3_commands_pipelined_behind_the_login(gate: Gateway, user: User) -> None:
    with mailbox(gate, user) as writer:
        writer.append("INBOX", "", "", message(user, "one"))
        writer.append("INBOX", "", "", message(user, "two"))
    with Wire(gate.ports["pop3s"]) as wire:
        wire.start_tls(gate.ca)
        wire.send(f"USER {user.name}\r\nPASS {user.secret}\r\nSTAT\r\nDELE 1\r\nSTAT\r\nQUIT\r\n".encode())
        replies = [wire.line() for _ in range(7)]
        assert wire.ended()
    assert all(reply.startswith(b"+OK") for reply in replies), replies
    assert replies[3].split()[1] == b"2"
    assert replies[5].split()[1] == b"1"


def test_smtp_commands_pipelined_behind_the_login(gate: Gateway, user: User) -> None:
    """RFC 2920: an envelope in one write, then data, the next envelope and QUIT in another."""
    envelope = f"MAIL FROM:<{user.name}>\r\nRCPT TO:<{user.name}>\r\nDATA\r\n".encode()
    with Wire(gate.ports["submissions"]) as wire:
        wire.start_tls(gate.ca)
        assert wire.line().startswith(b"220 ")
        wire.send(b"EHLO client.example.test\r\n")
        assert b"250-PIPELINING" in [line.replace(b"250 ", b"250-") for line in wire.until(b"250 ")]
        wire.send(b"AUTH PLAIN " + base64.b64encode(user.plain) + b"\r\n")
        assert wire.line().startswith(b"235 ")
        wire.send(envelope)
        assert [wire.line()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        wire.send(message(user, "one", b"1\r\n") + b".\r\n" + envelope)
        assert [wire.line()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        wire.send(message(user, "two", b"2\r\n") + b".\r\nQUIT\r\n")
        assert [wire.line()[:3] for _ in range(2)] == [b"250", b"221"]
        assert wire.ended()
    with mailbox(gate, user) as reader:
        wait_for_mail(reader, 2)
        assert {body_of(fetched(reader, number)) for number in (1, 2)} == {b"1\r\n", b"2\r\n"}
