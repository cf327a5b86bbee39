"""Library clients, connected to the gateway over verified TLS, and messages to send with them."""

from __future__ import annotations

import base64
import imaplib
import poplib
import random
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager

from tests.system.accounts import User
from tests.system.certificates import GATEWAY_NAME
from tests.system.gateway import Gateway
from tests.system.peers import wait_until
from tests.system.wire import trusting

_SECONDS = 30.0
LISTENER = {
    ("imap", "implicit"): "imaps",
    ("imap", "starttls"): "imap",
    ("pop3", "implicit"): "pop3s",
    ("pop3", "starttls"): "pop3",
    ("submission", "implicit"): "submissions",
    ("submission", "starttls"): "submission",
}


@contextmanager
def imap(gate: Gateway, listener: str, tls: str) -> Iterator[imaplib.IMAP4]:
    """An IMAP client behind TLS, not logged in."""
    port, context = gate.ports[listener], trusting(gate.ca)
    client: imaplib.IMAP4
    if tls == "implicit":
        client = imaplib.IMAP4_SSL(GATEWAY_NAME, port, ssl_context=context, timeout=_SECONDS)
    else:
        client = imaplib.IMAP4(GATEWAY_NAME, port, timeout=_SECONDS)
        client.starttls(context)
    with client:
        yield client


@contextmanager
def pop3(gate: Gateway, listener: str, tls: str) -> Iterator[poplib.POP3]:
    """A POP3 client behind TLS, not logged in."""
    port, context = gate.ports[listener], trusting(gate.ca)
    client: poplib.POP3
    if tls == "implicit":
        client = poplib.POP3_SSL(GATEWAY_NAME, port, context=context, timeout=_SECONDS)
    else:
        client = poplib.POP3(GATEWAY_NAME, port, timeout=_SECONDS)
        client.stls(context)
    try:
        yield client
        client.quit()
    finally:
        client.close()


@contextmanager
def smtp(gate: Gateway, listener: str, tls: str) -> Iterator[smtplib.SMTP]:
    """An SMTP client behind TLS, after EHLO, not logged in."""
    port, context = gate.ports[listener], trusting(gate.ca)
    client: smtplib.SMTP
    if tls == "implicit":
        client = smtplib.SMTP_SSL(GATEWAY_NAME, port, timeout=_SECONDS, context=context)
    else:
        client = smtplib.SMTP(GATEWAY_NAME, port, timeout=_SECONDS)
        client.starttls(context=context)
    with client:
        client.ehlo()
        yield client


@contextmanager
def mailbox(gate: Gateway, user: User) -> Iterator[imaplib.IMAP4]:
    """An IMAP client logged in through the gateway, INBOX selected."""
    with imap(gate, "imaps", "implicit") as client:
        client.login(user.name, user.secret)
        client.select()
        yield client


def wait_for_mail(client: imaplib.IMAP4, count: int) -> None:
    """Wait until the selected INBOX holds ``count`` messages."""
    wait_until(lambda: client.select()[1] == [str(count).encode()], f"{count} messages in INBOX")


def fetched(client: imaplib.IMAP4, number: int) -> bytes:
    """The octets of message ``number``."""
    status, data = client.fetch(str(number), "(BODY.PEEK[])")
    assert status == "OK"
    assert isinstance(data[0], tuple)
    return data[0][1]


def message(user: User, subject: str, body: bytes = b"Hello.\r\n") -> bytes:
    """A message to and from ``user``."""
    return f"From: {user.name}\r\nTo: {user.name}\r\nSubject: {subject}\r\n\r\n".encode() + body


def large_body(octets: int, seed: int = 1) -> bytes:
    """About ``octets`` of lines that don't compress, among them lines of dots, empty ones and 8-bit ones."""
    noise = base64.b64encode(random.Random(seed).randbytes(octets * 3 // 4))
    lines = [noise[at : at + 76] for at in range(0, len(noise), 76)]
    lines[10::1000] = [b"."] * len(lines[10::1000])
    lines[20::1000] = [b"..two dots"] * len(lines[20::1000])
    lines[30::1000] = [b""] * len(lines[30::1000])
    lines[40::1000] = [b"\xe4\xf6\xfc"] * len(lines[40::1000])
    return b"\r\n".join(lines) + b"\r\n"


def body_of(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]
