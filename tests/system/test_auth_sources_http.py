"""A real nginx and a real gateway before the same servers, asking the same auth_http server."""

from __future__ import annotations

import base64
import imaplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.system.accounts import SECRET, User
from tests.system.certificates import GATEWAY_NAME, Certificate
from tests.system.clients import body_of, fetched, imap, message, smtp, wait_for_mail
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.nginx import Nginx, nginx
from tests.system.peers import HOST, free_port
from tests.system.postfix import Postfix
from tests.system.test_auth_http import Recorder, recorder
from tests.system.test_sasl_login import ask_for_certificates
from tests.system.wire import Wire, trusting

LISTENERS = [
    Listener("imaps", "imap", "implicit", "imap"),
    Listener("pop3s", "pop3", "implicit", "pop3", 'proxy_protocol_from = ["127.0.0.0/8"]'),
    Listener("smtps", "submission", "implicit", "smtp"),
]
# What nginx's listeners of the same names want first.
FIRST = {"pop3s": b"PROXY TCP4 192.0.2.7 198.51.100.3 4711 995\r\n"}
OK = {"imaps": b"a OK", "pop3s": b"+OK", "smtps": b"235 "}
REFUSED = {"Auth-Status": "Not today"}
GUESS = 'p%20 a:\\t"x'
KEY = "a key of ours"


class Client(Wire):
    """A client of one listener or of nginx's like it: the TLS is the same with both."""

    def __init__(self, name: str, port: int, ca: Path) -> None:
        super().__init__(port)
        self._name = name
        self.send(FIRST.get(name, b""))
        self.start_tls(ca)
        self.line()
        if name == "smtps":
            self.send(b"EHLO me.example\r\n")
            self.until(b"250 ")

    def __enter__(self) -> Client:
        return self

    def start_tls(self, ca: Path) -> None:
        context = trusting(ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # below, the server has the last word
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        self._socket = context.wrap_socket(self._socket, server_hostname=GATEWAY_NAME)

    def log_in(self, user: str, secret: str) -> bytes:
        """The reply."""
        match self._name:
            case "imaps":
                quoted = secret.replace("\\", "\\\\").replace('"', '\\"')
                self.send(f'a LOGIN "{user}" "{quoted}"\r\n'.encode())
                return self.until(b"a ")[-1]
            case "pop3s":
                self.send(f"USER {user}\r\n".encode())
                assert self.line().startswith(b"+OK")
                self.send(f"PASS {secret}\r\n".encode())
            case _:
                self.send(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{secret}".encode()) + b"\r\n")
        return self.line()


@dataclass(frozen=True)
class Site:
    """``store``: where the gateway's pools are; ``elsewhere``: no pool of it is there, but the mailboxes are the same.

    ``sender``: the pool's is the first of its ports.
    """

    gate: Gateway
    nginx: Nginx
    record: Recorder
    store: Dovecot
    elsewhere: Dovecot
    sender: Postfix

    def by_nginx(self, name: str) -> Client:
        return Client(name, getattr(self.nginx, name), self.gate.ca)

    def by_gate(self, name: str) -> Client:
        return Client(name, self.gate.ports[name], self.gate.ca)

    def port_elsewhere(self, name: str) -> int:
        return {"imaps": self.elsewhere.imap, "pop3s": self.elsewhere.pop3, "smtps": self.sender.login_only}[name]

    def asked(self) -> list[tuple[str, str]]:
        """The headers of the one question since the last look, but for Host, which differs."""
        line, headers = self.record.take()
        assert line.startswith("GET /auth HTTP/1.")
        return [each for each in headers if each[0] != "Host"]


@pytest.fixture(scope="module")
def site(
    root: Path,
    gateway_certificate: Certificate,
    legacy_dovecot: Dovecot,
    tls_dovecot: Dovecot,
    legacy_postfix: Postfix,
) -> Iterator[Site]:
    key = root / "auth-http-key"
    key.write_text(f"X-Auth-Key: {KEY}\n")
    key.chmod(0o600)
    with recorder() as record, nginx(root / "nginx", gateway_certificate, f"{HOST}:{record.port}/auth") as theirs:
        more = f'auth_http_header_file = "{key}"'
        with _asking(
            root / "auth-http", gateway_certificate, record.port, legacy_dovecot, legacy_postfix, more
        ) as ours:
            yield Site(ours, theirs, record, legacy_dovecot, tls_dovecot, legacy_postfix)
        logged = ours.log.read_text()
        assert not [secret for secret in (GUESS, SECRET, KEY) if secret in logged]


@contextmanager
def _asking(
    directory: Path, certificate: Certificate, port: int, store: Dovecot, sender: Postfix, more: str = ""
) -> Iterator[Gateway]:
    """A gateway that asks at ``port``. ``more``: lines of ``[auth]``."""
    pools = [Pool("imap", store.imap), Pool("pop3", store.pop3), Pool("smtp", sender.smtp)]
    auth = f'drain = "2s"\n[auth]\nsource = "auth-http"\nauth_http = "http://{HOST}:{port}/auth"\n{more}'
    with gateway(directory, certificate, LISTENERS, pools, server=auth) as running:
        yield running


@pytest.mark.parametrize("name", ["imaps", "pop3s", "smtps"])
def test_the_question_is_nginxs(site: Site, name: str) -> None:
    """What differs is whose address a client behind a balancer has, and whether certificates are asked for."""
    with site.record.saying(REFUSED):
        with site.by_nginx(name) as client:
            assert b"Not today" in client.log_in("ann@example.test", GUESS)
        theirs = dict(site.asked())
        with site.by_gate(name) as client:
            client.log_in("ann@example.test", GUESS)
        ours = site.asked()
    assert ours.pop() == ("X-Auth-Key", KEY)
    if name == "imaps":
        assert theirs.pop("Auth-SSL-Verify") == "NONE"
    if name == "pop3s":
        assert theirs["Client-IP"] == HOST
        theirs["Client-IP"] = theirs["Proxy-Protocol-Addr"]
    assert ours == list(theirs.items())


def test_who_tries_again_is_told_of_as_such(site: Site) -> None:
    """And waits: the server says for how long."""
    told = []
    with site.record.saying({**REFUSED, "Auth-Wait": "1"}):
        for client in (site.by_nginx("imaps"), site.by_gate("imaps")):
            with client:
                for _ in range(2):
                    began = time.monotonic()
                    assert client.log_in("ann@example.test", GUESS).startswith(b"a NO ")
                    assert time.monotonic() - began >= 0.9
            told.append([dict(headers)["Auth-Login-Attempt"] for _, headers in site.record.asked])
            site.record.asked.clear()
    assert told == [["1", "2"], ["1", "2"]]


@pytest.mark.parametrize("name", ["imaps", "pop3s"])
def test_nginx_and_the_gateway_lead_to_the_server_that_is_named(site: Site, name: str, user: User) -> None:
    """No pool of the gateway's is there."""
    port = site.port_elsewhere(name)
    with site.record.saying({"Auth-Status": "OK", "Auth-Server": HOST, "Auth-Port": str(port)}):
        for client in (site.by_nginx(name), site.by_gate(name)):
            with client:
                assert client.log_in(user.name, user.secret).startswith(OK[name])
    assert site.elsewhere.log.read_text().count(f"{name[:4]}-login: Info: Login: user=<{user.name}>") == 2
    assert _backend_of(site, name, user.name) == f"{HOST}:{port}"


def test_mail_goes_to_the_server_that_is_named(site: Site, user: User) -> None:
    port = site.port_elsewhere("smtps")
    with (
        site.record.saying({"Auth-Status": "OK", "Auth-Server": HOST, "Auth-Port": str(port)}),
        smtp(site.gate, "smtps", "implicit") as client,
    ):
        client.login(user.name, user.secret)
        assert client.sendmail(user.name, [user.name], message(user, "elsewhere")) == {}
    assert _backend_of(site, "smtps", user.name) == f"{HOST}:{port}"
    with site.record.saying({"Auth-Status": "OK"}), imap(site.gate, "imaps", "implicit") as reader:
        reader.login(user.name, user.secret)
        wait_for_mail(reader, 1)
        assert body_of(fetched(reader, 1)) == b"Hello.\r\n"
    assert _backend_of(site, "imaps", user.name) == f"{HOST}:{site.store.imap}"


def _backend_of(site: Site, name: str, user: str) -> str:
    ended = site.gate.event("session", lambda event: (event["listener"], event["user"]) == (name, user))
    return str(ended["backend"])


def test_another_user_and_password_open_the_mailbox(site: Site, user: User) -> None:
    """The server keeps the backends' passwords to itself. Who is logged in stays the client's own name."""
    alias = f"alias-of-{user.name}"
    login = {"Auth-User": user.name, "Auth-Pass": user.secret}
    where = {"Auth-Server": HOST, "Auth-Port": str(site.store.imap)}
    with site.record.saying({"Auth-Status": "OK", **login, **where}):
        with site.by_gate("imaps") as client:
            assert client.log_in(alias, "of the alias").startswith(b"a OK ")
            client.send(b"b CREATE by-the-gateway\r\n")
            client.until(b"b OK")
        with site.by_nginx("imaps") as client:
            assert client.log_in(alias, "of the alias").startswith(b"a OK ")
            client.send(b'c LIST "" "*"\r\n')
            assert b"by-the-gateway" in b" ".join(client.until(b"c OK"))
    with site.record.saying({"Auth-Status": "OK", **login}):
        for name in ("pop3s", "smtps"):
            with site.by_gate(name) as client:
                assert client.log_in(alias, "of the alias").startswith(OK[name])
    assert _backend_of(site, "pop3s", alias) == f"{HOST}:{site.store.pop3}"


def test_what_is_not_rewritten_must_suit_the_backend(site: Site, user: User) -> None:
    """The server's OK is no key to a mailbox."""
    with (
        site.record.saying({"Auth-Status": "OK"}),
        imap(site.gate, "imaps", "implicit") as client,
        pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"),
    ):
        client.login(user.name, "of another server")


def test_a_certificates_owner_is_asked_about(
    root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, legacy_postfix: Postfix, user: User
) -> None:
    """And opens a mailbox by a password that the server alone knows; without one there is nothing to log in with."""
    ours, files = trustme.CA(), root / "auth-http-certificates"
    files.mkdir()
    mine, ca = files / "mine.pem", files / "ca.pem"
    ours.cert_pem.write_to_path(ca)
    ours.issue_cert("ann@example.test").private_key_and_cert_chain_pem.write_to_path(mine)
    backends = legacy_dovecot, legacy_postfix
    before, after = 'mechanisms = ["PLAIN"]', 'mechanisms = ["EXTERNAL"]'
    with (
        recorder() as record,
        _asking(root / "auth-http-external", gateway_certificate, record.port, *backends, before) as gate,
    ):
        ask_for_certificates(gate, ca, before, after)
        context = trusting(gate.ca)
        context.load_cert_chain(mine)
        with imaplib.IMAP4_SSL(GATEWAY_NAME, gate.ports["imaps"], ssl_context=context, timeout=30) as client:
            with (
                record.saying({"Auth-Status": "OK"}),
                pytest.raises(imaplib.IMAP4.error, match=r"\[UNAVAILABLE\]"),
            ):
                client.authenticate("EXTERNAL", lambda _: b"")
            with record.saying({"Auth-Status": "OK", "Auth-User": user.name, "Auth-Pass": user.secret}):
                client.authenticate("EXTERNAL", lambda _: b"")
                asked = dict(record.take()[1])
            assert client.select()[0] == "OK"
        told = {name: asked[name] for name in ("Auth-Method", "Auth-User", "Auth-Pass", "Auth-SSL-Verify")}
        assert [*told.values()] == ["external", "ann@example.test", "", "SUCCESS"]
        ended = gate.event("session", lambda event: event["mechanism"] == "EXTERNAL")
        assert ended["user"] == "ann@example.test"


def test_a_refusal_and_its_code(site: Site) -> None:
    """Clients hear the usual words; the server's are for the log."""
    said = {}
    with site.record.saying(REFUSED):
        for name in ("imaps", "pop3s", "smtps"):
            with site.by_gate(name) as client:
                said[name] = client.log_in("ben@example.test", GUESS)
    assert said["imaps"].startswith(b"a NO [AUTHENTICATIONFAILED] ")
    assert said["pop3s"].startswith(b"-ERR [AUTH] ")
    assert said["smtps"].startswith(b"535 5.7.8 ")
    assert site.gate.event("auth_failed", lambda event: event["user"] == "ben@example.test")["reason"] == "Not today"


@pytest.mark.parametrize(("code", "kind"), [("451 4.3.0", "login_unavailable"), ("550 5.7.1", "auth_failed")])
def test_an_smtp_client_gets_nginxs_reply(site: Site, code: str, kind: str) -> None:
    user = f"{code[:3]}@example.test"
    with site.record.saying({**REFUSED, "Auth-Error-Code": code}):
        for client in (site.by_nginx("smtps"), site.by_gate("smtps")):
            with client:
                assert client.log_in(user, GUESS) == f"{code} Not today".encode()
    assert site.gate.event(kind, lambda event: event["user"] == user)["reason"] == "Not today"


def test_without_the_server_nobodys_password_is_wrong(
    root: Path,
    gateway_certificate: Certificate,
    legacy_dovecot: Dovecot,
    legacy_postfix: Postfix,
    user: User,
) -> None:
    """And once it is there again, so are the logins."""
    port = free_port()
    said = {}
    with _asking(root / "auth-http-down", gateway_certificate, port, legacy_dovecot, legacy_postfix) as gate:
        for name in ("imaps", "pop3s", "smtps"):
            with Client(name, gate.ports[name], gate.ca) as client:
                said[name] = client.log_in(user.name, user.secret)
        assert said["imaps"].startswith(b"a NO [UNAVAILABLE] ")
        assert said["pop3s"].startswith(b"-ERR [SYS/TEMP] ")
        assert said["smtps"].startswith(b"454 4.7.0 ")
        reason = gate.event("login_unavailable", lambda event: event["listener"] == "smtps")["reason"]
        assert reason.startswith("auth_http: ")
        assert len(gate.events("login_unavailable")) == 3
        assert not gate.events("auth_failed")
        with (
            recorder(port) as record,
            record.saying({"Auth-Status": "OK"}),
            Client("imaps", gate.ports["imaps"], gate.ca) as client,
        ):
            assert client.log_in(user.name, user.secret).startswith(b"a OK ")
