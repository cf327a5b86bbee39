"""The users file decides who gets in: before a Postfix without logins that trusts the gateway, and before Dovecot."""

from __future__ import annotations

import imaplib
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from tests.system.accounts import SECRET, WRONG, User
from tests.system.certificates import Certificate
from tests.system.clients import body_of, fetched, imap, message, smtp, wait_for_mail
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST, free_port, greets, program, run, stop, wait_until
from tests.system.postfix import Postfix, _lay_out, _main, _master

LISTENERS = [Listener("imaps", "imap", "implicit", "imap"), Listener("submission", "submission", "starttls", "smtp")]
ANOTHER = "not what the backend has"
# Replaced, not appended: a warning about each key that is set twice blocks the start of Postfix's own log.
WITHOUT_LOGINS = {
    "smtpd_sasl_auth_enable = yes": "smtpd_sasl_auth_enable = no",
    "mynetworks = 192.0.2.1/32": f"mynetworks = {HOST}/32",
    "permit_sasl_authenticated, reject": "permit_mynetworks, reject",
}


@dataclass(frozen=True, slots=True)
class Trusting:
    """A Postfix that has no logins and takes mail from loopback: its port, and what it has logged."""

    port: int
    log: Path

    def auth_commands(self) -> int:
        """In how many sessions it was asked for a login: a session's last line counts its commands."""
        return self.log.read_text().count(" auth=")


@contextmanager
def trusting_postfix(
    directory: Path, mail: Path, users: list[User], auth: Path, certificate: Certificate
) -> Iterator[Trusting]:
    """The legacy Postfix of the other tests, but WITHOUT_LOGINS."""
    path = program("postfix")
    server = Postfix(free_port(), free_port(), free_port(), free_port())
    config = directory / "config"
    _lay_out(directory, config)
    settings = _main(directory, mail, auth, certificate)
    for logins, none in WITHOUT_LOGINS.items():
        assert logins in settings
        settings = settings.replace(logins, none)
    (config / "main.cf").write_text(settings)
    (config / "master.cf").write_text(_master(server))
    (config / "mailboxes").write_text("".join(f"{user.name} {user.name}/\n" for user in users))
    process = subprocess.Popen(
        [path, "-c", str(config), "start-fg"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: process.poll() is not None or greets(server.smtp), "Postfix greets")
        assert process.poll() is None
        yield Trusting(server.smtp, directory / "log" / "postfix.log")
    finally:
        run(path, "-c", str(config), "stop")
        stop(process)


def users_line(user: User, secret: str = SECRET) -> str:
    return f"{user.name}:{{BLF-CRYPT}}{bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()}::::::\n"


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway, its users file, and users whom all the backends know.

    ``user``: in the file as at the backend; ``other``: with ANOTHER secret; ``locked``; ``absent``: not in the file.
    """

    gate: Gateway
    users_file: Path
    postfix: Trusting
    user: User
    other: User
    locked: User
    absent: User


@pytest.fixture(scope="module")
def site(
    root: Path,
    mail: Path,
    all_users: list[User],
    fresh_users: Iterator[User],
    legacy_dovecot: Dovecot,
    backend_certificate: Certificate,
    gateway_certificate: Certificate,
) -> Iterator[Site]:
    user, other, locked, absent = (next(fresh_users) for _ in range(4))
    users_file = root / "gateway-users"
    users_file.write_text(users_line(user) + users_line(other, ANOTHER) + f"{locked.name}:!\n")
    users_file.chmod(0o640)
    arguments = (mail, all_users, legacy_dovecot.auth, backend_certificate)
    with trusting_postfix(root / "trusting-postfix", *arguments) as server:
        pools = [Pool("imap", legacy_dovecot.imap), Pool("smtp", server.port, rest='login = "none"')]
        auth = f'drain = "2s"\n[auth]\nsource = "users-file"\nusers_file = "{users_file}"'
        with gateway(root / "trusted", gateway_certificate, LISTENERS, pools, server=auth) as running:
            yield Site(running, users_file, server, user, other, locked, absent)


def test_a_backend_without_logins_is_asked_for_none(site: Site) -> None:
    """Who is in the file sends mail by a Postfix without AUTH; who isn't doesn't get as far."""
    user = site.user
    with smtp(site.gate, "submission", "starttls") as client:
        for name, secret in ((user.name, WRONG), (site.absent.name, SECRET), (site.locked.name, SECRET)):
            client.user, client.password = name, secret
            with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
                client.auth("PLAIN", client.auth_plain)
            assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (535, b"5.7.8")
        assert client.mail(user.name)[0] == 530
    with smtp(site.gate, "submission", "starttls") as client:
        assert client.login(user.name, user.secret)[0] == 235
        assert client.sendmail(user.name, [user.name], message(user, "trusted")) == {}
    with imap(site.gate, "imaps", "implicit") as reader:
        reader.login(user.name, user.secret)
        wait_for_mail(reader, 1)
        assert body_of(fetched(reader, 1)) == b"Hello.\r\n"
    wait_until(lambda: " data=1 " in site.postfix.log.read_text(), "Postfix has counted the session's commands")
    assert site.postfix.auth_commands() == 0


def test_login_same_asks_the_backend_too(site: Site) -> None:
    """Both must find the secret right."""
    with imap(site.gate, "imaps", "implicit") as client:
        for name, secret in (
            (site.other.name, SECRET),
            (site.other.name, ANOTHER),
            (site.locked.name, SECRET),
            (site.absent.name, SECRET),
        ):
            with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"):
                client.login(name, secret)
        client.login(site.user.name, site.user.secret)
        assert client.select()[0] == "OK"


def test_the_file_is_followed_and_a_faulty_line_is_told_by_its_number(site: Site, user: User) -> None:
    number = len(site.users_file.read_text().splitlines()) + 1
    with site.users_file.open("a") as file:
        file.write("somebody:{PLAIN}hunter2\n" + users_line(user))

    def logs_in() -> bool:
        with imap(site.gate, "imaps", "implicit") as client:
            try:
                client.login(user.name, user.secret)
            except imaplib.IMAP4.error:
                return False
            return True

    wait_until(logs_in, "the new user can log in")
    reread = site.gate.event("users_file", lambda event: event["users"] == 4)
    assert (reread["path"], reread["remarks"]) == (
        str(site.users_file),
        2,
    )  # the line, and hashes that are soon guessed
    told = site.gate.event("users_file_fault", lambda event: event["about"] == f"{site.users_file}:{number}")
    assert (told["level"], "in clear" in told["reason"]) == ("warning", True)
    logged = site.gate.log.read_text()
    assert "hunter2" not in logged
    assert "somebody" not in logged
