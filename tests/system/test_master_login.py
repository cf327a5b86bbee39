"""The users file decides, and the gateway opens mailboxes as the master user of a real Dovecot, led there by routes."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.accounts import SECRET, User
from tests.system.certificates import Certificate
from tests.system.clients import body_of, fetched, imap, message, pop3, smtp, wait_for_mail
from tests.system.dovecot import Dovecot, dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST
from tests.system.postfix import postfix
from tests.system.test_trusted_backend import users_line

LISTENERS = [
    Listener("imaps", "imap", "implicit", "imap"),
    Listener("pop3s", "pop3", "implicit", "pop3"),
    Listener("submission", "submission", "starttls", "smtp"),
]
HERE, MASTER_SECRET = "known to the gateway alone", "the master's"
MASTERS = """auth_master_user_separator = *
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {masters}
  master = yes
  result_success = continue
}}
passdb {{
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway before servers that know other passwords than it does. ``routed``: whom a route leads elsewhere.

    ``star``: whose name holds the separator; ``absent``: who is in the gateway's file and unknown to the servers.
    """

    gate: Gateway
    dovecot: Dovecot
    users: list[User]
    routed: User
    star: User
    absent: User


@pytest.fixture(scope="module")
def site(
    root: Path,
    mail: Path,
    users_file: Path,
    all_users: list[User],
    fresh_users: Iterator[User],
    backend_certificate: Certificate,
    gateway_certificate: Certificate,
) -> Iterator[Site]:
    known = [User(next(fresh_users).name, HERE) for _ in range(6)]
    star, absent = User(f"{known[0].name}*{known[1].name}", HERE), User("nobody@example.test", HERE)
    here = root / "users-with-master"
    here.write_text("".join(users_line(each, HERE) for each in (*known, star, absent)))
    here.chmod(0o640)
    masters, secret = root / "masters", root / "master.secret"
    masters.write_text(f"master:{{PLAIN}}{MASTER_SECRET}\n")
    masters.chmod(0o644)
    secret.write_text(f"{MASTER_SECRET}\n")
    secret.chmod(0o600)
    names = [each.name for each in all_users]
    login = f'login = "master"\nmaster_user = "master"\nmaster_password_file = "{secret}"\n'
    acting = login + 'master_separator = ""\n'
    auth = f'drain = "2s"\n[auth]\nsource = "users-file"\nusers_file = "{here}"\n'
    route = f'[[routes]]\nmatch = "{known[0].name.upper()}"\nprotocol = "imap"\npool = "acting"\n'
    with (
        dovecot(
            root / "dovecot-master",
            mail,
            users_file,
            backend_certificate,
            {"passdb {\n": MASTERS.format(masters=masters)},
        ) as server,
        postfix(root / "postfix-master", mail, names, server.auth, backend_certificate) as mta,
    ):
        pools = [
            Pool("imap", server.imap, rest=login),
            Pool("acting", server.imaps, 'tls = "implicit", verify = false', rest=acting),
            Pool("pop3", server.pop3, rest=acting),
            Pool("smtp", mta.smtp, rest=acting),
        ]
        with gateway(root / "master", gateway_certificate, LISTENERS, pools, server=auth + route) as running:
            yield Site(running, server, known[1:], known[0], star, absent)
        assert MASTER_SECRET not in running.log.read_text()


def test_mail_is_sent_and_read_without_the_servers_ever_knowing_the_password(site: Site) -> None:
    """In each protocol; by "user*master" and by PLAIN's authzid."""
    user = site.users[0]
    with smtp(site.gate, "submission", "starttls") as client:
        assert client.login(user.name, HERE)[0] == 235
        assert client.sendmail(user.name, [user.name], message(user, "by the master")) == {}
    with imap(site.gate, "imaps", "implicit") as reader:
        reader.login(user.name, HERE)
        wait_for_mail(reader, 1)
        assert body_of(fetched(reader, 1)) == b"Hello.\r\n"
    with pop3(site.gate, "pop3s", "implicit") as popper:
        popper.user(user.name)
        popper.pass_(HERE)
        assert popper.stat()[0] == 1


def test_the_master_opens_the_users_mailbox_and_no_other(site: Site) -> None:
    one, other = site.users[1:3]
    for user, name in ((one, "of-one"), (other, "of-other")):
        with imap(site.gate, "imaps", "implicit") as client:
            client.login(user.name, HERE)
            assert client.create(name)[0] == "OK"
    with imap(site.gate, "imaps", "implicit") as client:
        client.login(one.name, HERE)
        boxes = b" ".join(each for each in client.list()[1] if isinstance(each, bytes))
        assert b"of-one" in boxes and b"of-other" not in boxes


def test_a_route_leads_to_another_pool(site: Site) -> None:
    with imap(site.gate, "imaps", "implicit") as client:
        client.login(site.routed.name, HERE)
        assert client.select()[0] == "OK"
    with pop3(site.gate, "pop3s", "implicit") as popper:
        popper.user(site.routed.name)
        popper.pass_(HERE)
    of_user = [
        site.gate.event(
            "session",
            lambda event: (event["user"], event["listener"]) == (site.routed.name, listener),  # noqa: B023
        )
        for listener in ("imaps", "pop3s")
    ]
    assert [event["backend"] for event in of_user] == [f"{HOST}:{site.dovecot.imaps}", f"{HOST}:{site.dovecot.pop3}"]
    assert site.gate.metric("tlsgate_backend_up", pool="acting") == 1


def test_who_does_not_get_in(site: Site) -> None:
    """The servers' own passwords, another's name, and the master's own secret are worth nothing here."""
    user = site.users[3]
    with imap(site.gate, "imaps", "implicit") as client:
        for name, secret in (
            (user.name, SECRET),
            (f'"{user.name}*master"', MASTER_SECRET),
            ("master", MASTER_SECRET),
        ):
            with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"):
                client.login(name, secret)
        with pytest.raises(imaplib.IMAP4.error, match=r"\[CONTACTADMIN\]"):  # whose password is right, and no guess
            client.login(f'"{site.star.name}"', HERE)
    told = site.gate.event("login_unavailable", lambda event: event["user"] == site.star.name)
    assert told["reason"] == "the user name holds the master separator"


def test_a_user_whom_the_servers_do_not_know_is_not_told_of_a_wrong_password(site: Site) -> None:
    with (
        imap(site.gate, "imaps", "implicit") as client,
        pytest.raises(imaplib.IMAP4.error, match=r"\[UNAVAILABLE\]"),
    ):
        client.login(site.absent.name, HERE)
    with pop3(site.gate, "pop3s", "implicit") as popper:
        popper.user(site.absent.name)
        with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\]"):
            popper.pass_(HERE)
    with smtp(site.gate, "submission", "starttls") as sender:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            sender.login(site.absent.name, HERE)
        assert refusal.value.smtp_code == 454
    told = site.gate.event("login_unavailable", lambda event: event["user"] == site.absent.name)
    assert "refuses the master login" in told["reason"]
