"""Logins through the gateway: every protocol, implicit TLS and STARTTLS, right and wrong secrets."""

from __future__ import annotations

import base64
import imaplib
import poplib
import smtplib

import pytest

from tests.system.accounts import WRONG, User
from tests.system.clients import LISTENER, imap, pop3, smtp
from tests.system.gateway import Gateway

pytestmark = pytest.mark.parametrize("tls", ["implicit", "starttls"])


def test_imap_login_command(gate: Gateway, user: User, tls: str) -> None:
    with imap(gate, LISTENER["imap", tls], tls) as client:
        with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"):
            client.login(user.name, WRONG)
        assert client.noop()[0] == "OK"
        assert client.login(user.name, user.secret)[0] == "OK"
        assert client.select() == ("OK", [b"0"])


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_imap_authenticate(gate: Gateway, user: User, tls: str, mechanism: str) -> None:
    def log_in(client: imaplib.IMAP4, who: User) -> None:
        answers = iter([who.plain] if mechanism == "PLAIN" else [who.name.encode(), who.secret.encode()])
        client.authenticate(mechanism, lambda _: next(answers))

    with imap(gate, LISTENER["imap", tls], tls) as client:
        assert f"AUTH={mechanism}" in client.capability()[1][0].decode()
        with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"):
            log_in(client, User(user.name, WRONG))
        log_in(client, user)
        assert client.select() == ("OK", [b"0"])


def test_a_secret_that_is_not_ascii(gate: Gateway, utf8_user: User, tls: str) -> None:
    """The backend's LOGIN takes it by literal or by AUTHENTICATE only: a quoted string may not hold it."""
    with imap(gate, LISTENER["imap", tls], tls) as client:
        client.authenticate("PLAIN", lambda _: utf8_user.plain)
        assert client.select()[0] == "OK"
    with pop3(gate, LISTENER["pop3", tls], tls) as client:
        client.encoding = "utf-8"
        client.user(utf8_user.name)
        assert client.pass_(utf8_user.secret).startswith(b"+OK")


def test_pop3_user_pass(gate: Gateway, user: User, tls: str) -> None:
    with pop3(gate, LISTENER["pop3", tls], tls) as client:
        client.user(user.name)
        with pytest.raises(poplib.error_proto) as refusal:
            client.pass_(WRONG)
        assert refusal.value.args[0].startswith(b"-ERR")
        assert b"[SYS/" not in refusal.value.args[0]
        client.user(user.name)
        assert client.pass_(user.secret).startswith(b"+OK")
        assert client.stat() == (0, 0)


def test_pop3_auth_plain(gate: Gateway, user: User, tls: str) -> None:
    with pop3(gate, LISTENER["pop3", tls], tls) as client:
        assert "PLAIN" in client.capa()["SASL"]
        with pytest.raises(poplib.error_proto):
            client._shortcmd("AUTH PLAIN " + _base64(User(user.name, WRONG).plain))  # type: ignore[attr-defined]
        client._shortcmd("AUTH PLAIN " + _base64(user.plain))  # type: ignore[attr-defined]
        assert client.stat() == (0, 0)


@pytest.mark.parametrize("initial_response", [True, False])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_smtp_auth(gate: Gateway, user: User, tls: str, mechanism: str, initial_response: bool) -> None:
    with smtp(gate, LISTENER["submission", tls], tls) as client:
        assert mechanism in client.esmtp_features["auth"].split()
        answer = client.auth_plain if mechanism == "PLAIN" else client.auth_login
        client.user, client.password = user.name, WRONG
        with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            client.auth(mechanism, answer, initial_response_ok=initial_response)
        assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (535, b"5.7.8")
        assert client.noop()[0] == 250
        client.password = user.secret
        assert client.auth(mechanism, answer, initial_response_ok=initial_response)[0] == 235
        assert client.mail(user.name)[0] == 250


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
