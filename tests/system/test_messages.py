"""Whole messages through the gateway, octet for octet."""

from __future__ import annotations

import smtplib

import pytest

from tests.system.accounts import User
from tests.system.clients import (
    LISTENER,
    body_of,
    fetched,
    imap,
    large_body,
    mailbox,
    message,
    pop3,
    smtp,
    wait_for_mail,
)
from tests.system.gateway import Gateway

LARGE = 30 * 1024 * 1024


@pytest.fixture(scope="module")
def body() -> bytes:
    return large_body(LARGE)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_30_mb_submitted_and_read_back(gate: Gateway, user: User, tls: str, body: bytes) -> None:
    with smtp(gate, LISTENER["submission", tls], tls) as client:
        client.login(user.name, user.secret)
        assert client.sendmail(user.name, [user.name], message(user, "large", body)) == {}
    with imap(gate, LISTENER["imap", tls], tls) as client:
        client.login(user.name, user.secret)
        wait_for_mail(client, 1)
        assert body_of(fetched(client, 1)) == body
    with pop3(gate, LISTENER["pop3", tls], tls) as client:
        client.user(user.name)
        client.pass_(user.secret)
        lines = client.retr(1)[1]
        assert body_of(b"\r\n".join(lines) + b"\r\n") == body


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_30_mb_appended_and_fetched(gate: Gateway, user: User, tls: str, body: bytes) -> None:
    sent = message(user, "appended", body)
    with imap(gate, LISTENER["imap", tls], tls) as client:
        client.login(user.name, user.secret)
        assert client.append("INBOX", "", "", sent)[0] == "OK"
        client.select()
        assert fetched(client, 1) == sent


def test_several_messages_in_one_smtp_session(gate: Gateway, user: User) -> None:
    """A transaction's end, RSET and a refused recipient leave the session fit for the next message."""
    with smtp(gate, "submissions", "implicit") as client:
        client.login(user.name, user.secret)
        client.sendmail(user.name, [user.name], message(user, "one"))
        client.mail(user.name)
        client.rset()
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            client.sendmail(user.name, ["nobody@example.test"], message(user, "refused"))
        assert refusal.value.recipients["nobody@example.test"][0] == 550
        refused = client.sendmail(user.name, [user.name, "nobody@example.test"], message(user, "two"))
        assert list(refused) == ["nobody@example.test"]
    with mailbox(gate, user) as reader:
        wait_for_mail(reader, 2)
        subjects = sorted(fetched(reader, number).partition(b"Subject: ")[2].split(b"\r\n")[0] for number in (1, 2))
        assert subjects == [b"one", b"two"]


def test_dots_at_the_edges_of_a_message(gate: Gateway, user: User) -> None:
    """Transparency (RFC 5321 4.5.2): a body that looks like the end of data neither ends nor changes it."""
    body = b".\r\n..\r\n...\r\n.hidden\r\n\r\n.\r\n"
    with smtp(gate, "submission", "starttls") as client:
        client.login(user.name, user.secret)
        client.sendmail(user.name, [user.name], message(user, "dots", body))
        client.sendmail(user.name, [user.name], message(user, "after"))
    with mailbox(gate, user) as reader:
        wait_for_mail(reader, 2)
        bodies = {body_of(fetched(reader, number)) for number in (1, 2)}
        assert bodies == {body, b"Hello.\r\n"}
