"""The real servers without a gateway: a fault here is not tlsgate's."""

from __future__ import annotations

import imaplib
import poplib
import smtplib

from tests.system.accounts import User
from tests.system.clients import body_of, fetched, message, wait_for_mail
from tests.system.dovecot import Dovecot
from tests.system.peers import HOST
from tests.system.postfix import Postfix


def test_dovecot_takes_a_login_in_clear(legacy_dovecot: Dovecot, user: User) -> None:
    with imaplib.IMAP4(HOST, legacy_dovecot.imap, timeout=10) as client:
        assert "STARTTLS" not in client.capabilities
        client.login(user.name, user.secret)
        assert client.select()[1] == [b"0"]
        assert b"COMPRESS=DEFLATE" in client.capability()[1][0]
    pop3 = poplib.POP3(HOST, legacy_dovecot.pop3, timeout=10)
    assert "STLS" not in pop3.capa()
    pop3.user(user.name)
    pop3.pass_(user.secret)
    assert pop3.stat() == (0, 0)
    pop3.quit()


def test_a_submitted_message_lands_in_the_mailbox(legacy_dovecot: Dovecot, legacy_postfix: Postfix, user: User) -> None:
    for port, mechanisms in ((legacy_postfix.smtp, "PLAIN LOGIN"), (legacy_postfix.login_only, "LOGIN")):
        with smtplib.SMTP(HOST, port, timeout=10) as smtp:
            smtp.ehlo()
            assert not smtp.has_extn("starttls")
            assert set(smtp.esmtp_features["auth"].split()) == set(mechanisms.split())
            smtp.login(user.name, user.secret)
            smtp.sendmail(user.name, [user.name], message(user, mechanisms))
    with imaplib.IMAP4(HOST, legacy_dovecot.imap, timeout=10) as client:
        client.login(user.name, user.secret)
        wait_for_mail(client, 2)
        assert body_of(fetched(client, 1)) == b"Hello.\r\n"


def test_backends_with_tls_offer_it(tls_dovecot: Dovecot, legacy_postfix: Postfix) -> None:
    with imaplib.IMAP4(HOST, tls_dovecot.imap, timeout=10) as client:
        assert "STARTTLS" in client.capabilities
    with smtplib.SMTP(HOST, legacy_postfix.starttls, timeout=10) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
