"""Backends that are down, silent, speak TLS, or are somebody else: never taken for a wrong password."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.accounts import WRONG, User
from tests.system.certificates import BACKEND_NAME, Certificate
from tests.system.clients import imap, message, pop3, smtp
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST, free_port
from tests.system.postfix import Postfix

PROTOCOLS = {"imap": "imap", "pop3": "pop3", "smtp": "submission"}
VERIFIED = [f"{protocol}-{tls}" for protocol in PROTOCOLS for tls in ("starttls", "implicit")]
UNFIT = ["dead", "silent", "wrong-name", "unknown-ca", "no-starttls"]


def _pools(
    legacy: Dovecot, tls: Dovecot, smtp_server: Postfix, certificates: tuple[Certificate, Certificate], silent: int
) -> list[Pool]:
    backend, other = certificates
    clear = {"imap": legacy.imap, "pop3": legacy.pop3, "smtp": smtp_server.smtp}
    starttls = {"imap": tls.imap, "pop3": tls.pop3, "smtp": smtp_server.starttls}
    implicit = {"imap": tls.imaps, "pop3": tls.pop3s, "smtp": smtp_server.smtps}
    dead = free_port()

    def verified(mode: str, name: str = BACKEND_NAME, ca: Path = backend.ca) -> str:
        return f'tls = "{mode}", verify = true, ca = "{ca}", server_name = "{name}"'

    pools = [Pool("smtp-login-only", smtp_server.login_only)]
    for name in PROTOCOLS:
        pools += [
            Pool(f"{name}-starttls", starttls[name], verified("starttls")),
            Pool(f"{name}-implicit", implicit[name], verified("implicit")),
            Pool(f"{name}-dead", dead),
            Pool(f"{name}-silent", silent, rest='connect_timeout = "1s"'),
            Pool(f"{name}-wrong-name", starttls[name], verified("starttls", "other.backend.test")),
            Pool(f"{name}-unknown-ca", implicit[name], verified("implicit", ca=other.ca)),
            Pool(f"{name}-no-starttls", clear[name], verified("starttls")),
        ]
    return pools


@pytest.fixture(scope="module")
def faulty(
    root: Path,
    gateway_certificate: Certificate,
    backend_certificate: Certificate,
    legacy_dovecot: Dovecot,
    tls_dovecot: Dovecot,
    legacy_postfix: Postfix,
) -> Iterator[Gateway]:
    """A gateway with one implicit-TLS listener for each pool, of the same name."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server((HOST, 0), backlog=128))
        pools = _pools(
            legacy_dovecot,
            tls_dovecot,
            legacy_postfix,
            (backend_certificate, gateway_certificate),
            silent.getsockname()[1],
        )
        listeners = [
            Listener(pool.name, PROTOCOLS[pool.name.partition("-")[0]], "implicit", pool.name) for pool in pools
        ]
        yield stack.enter_context(gateway(root / "faulty", gateway_certificate, listeners, pools))


@pytest.mark.parametrize("fault", UNFIT)
def test_imap_says_unavailable(faulty: Gateway, user: User, fault: str) -> None:
    with imap(faulty, f"imap-{fault}", "implicit") as client:
        for _ in range(2):
            with pytest.raises(imaplib.IMAP4.error, match=r"\[UNAVAILABLE\]"):
                client.login(user.name, user.secret)


@pytest.mark.parametrize("fault", UNFIT)
def test_pop3_says_sys_temp(faulty: Gateway, user: User, fault: str) -> None:
    with pop3(faulty, f"pop3-{fault}", "implicit") as client:
        client.user(user.name)
        with pytest.raises(poplib.error_proto, match=r"-ERR \[SYS/TEMP\]"):
            client.pass_(user.secret)


@pytest.mark.parametrize("fault", UNFIT)
def test_smtp_says_454_or_421(faulty: Gateway, user: User, fault: str) -> None:
    with pytest.raises(smtplib.SMTPResponseException) as refusal, smtp(faulty, f"smtp-{fault}", "implicit") as client:
        client.user, client.password = user.name, user.secret
        client.auth("PLAIN", client.auth_plain)
    assert refusal.value.smtp_code in (454, 421)
    if refusal.value.smtp_code == 454:
        error = refusal.value.smtp_error
        assert (error if isinstance(error, bytes) else error.encode()).startswith(b"4.7.0")


def test_faults_are_on_record(faulty: Gateway) -> None:
    down = faulty.event("backend_down", lambda event: event["pool"] == "imap-dead")
    assert down["backend"].startswith(HOST)
    assert faulty.metric("tlsgate_backend_up", pool="imap-dead") == 0
    assert faulty.metric("tlsgate_backend_up", pool="imap-starttls") == 1


@pytest.mark.parametrize("pool", VERIFIED)
def test_backend_over_verified_tls(faulty: Gateway, user: User, pool: str) -> None:
    match pool.partition("-")[0]:
        case "imap":
            with imap(faulty, pool, "implicit") as client:
                with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"):
                    client.login(user.name, WRONG)
                client.login(user.name, user.secret)
                assert client.select() == ("OK", [b"0"])
        case "pop3":
            with pop3(faulty, pool, "implicit") as reader:
                reader.user(user.name)
                reader.pass_(user.secret)
                assert reader.stat() == (0, 0)
        case _:
            with smtp(faulty, pool, "implicit") as sender:
                sender.login(user.name, user.secret)
                assert sender.sendmail(user.name, [user.name], message(user, pool)) == {}


def test_smtp_backend_that_offers_auth_login_only(faulty: Gateway, user: User) -> None:
    """Exchange, for one: the client's PLAIN becomes the backend's LOGIN."""
    with smtp(faulty, "smtp-login-only", "implicit") as client:
        client.user, client.password = user.name, WRONG
        with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            client.auth("PLAIN", client.auth_plain)
        assert refusal.value.smtp_code == 535
        client.password = user.secret
        assert client.auth("PLAIN", client.auth_plain)[0] == 235
        assert client.sendmail(user.name, [user.name], message(user, "login only")) == {}
