"""Logins that show no password, by real clients through a real gateway: SCRAM with GNU SASL, EXTERNAL with curl."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import imaplib
import itertools
import poplib
import signal
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.system.accounts import User
from tests.system.certificates import GATEWAY_NAME, Certificate
from tests.system.clients import LISTENER
from tests.system.gateway import Event, Gateway, Listener, gateway
from tests.system.masters import mastered
from tests.system.peers import HOST, free_port, program, run
from tests.system.test_trusted_backend import users_line
from tests.system.wire import Wire, trusting

POOL = {"imap": "imap", "pop3": "pop3", "submission": "smtp"}
LISTENERS = [Listener(name, protocol, tls, POOL[protocol]) for (protocol, tls), name in LISTENER.items()]
PASSWORD = "pencil,=§"
ORDER = ("SCRAM-SHA-256-PLUS", "XOAUTH2", "EXTERNAL", "SCRAM-SHA-256", "LOGIN", "OAUTHBEARER", "PLAIN")
AUTH = """drain = "2s"
[auth]
source = ["users-file", "oauth"]
users_file = "{users}"
mechanisms = [{mechanisms}]
[auth.oauth]
issuer = "https://id.example.org"
audience = "https://mail.example.org"
jwks_url = "http://127.0.0.1:{nobody}/keys"
"""
TLS12 = ("--priority", "NORMAL:-VERS-TLS1.3")
CURL_LOGIN_DENIED = 67
days = itertools.count(1)


@dataclass(frozen=True)
class Site:
    """Users in the file: ``scram`` has a secret for SCRAM, ``other`` a hash of another kind, ``locked`` none.

    ``ours``: the CA of clients. ``files``: where their certificates are written to.
    """

    gate: Gateway
    scram: User
    other: User
    locked: User
    ours: trustme.CA
    files: Path

    def certificate(self, ca: trustme.CA, user: str, *, expired: bool = False) -> Path:
        """A client's, with its key."""
        path = self.files / f"{next(days)}.pem"
        until = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1) if expired else None
        ca.issue_cert(user, not_after=until).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def context(self, certificate: Path | None = None) -> ssl.SSLContext:
        context = trusting(self.gate.ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def imap(self, certificate: Path | None) -> imaplib.IMAP4_SSL:
        context = self.context(certificate)
        return imaplib.IMAP4_SSL(GATEWAY_NAME, self.gate.ports["imaps"], ssl_context=context, timeout=30)

    def session(self, user: str, mechanism: str) -> Event:
        return self.gate.event("session", lambda each: (each["user"], each["mechanism"]) == (user, mechanism))


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
    """Certificates of clients come with a reload: until then nobody is asked for one."""
    scram, other, locked = (User(next(fresh_users).name, PASSWORD) for _ in range(3))
    files = root / "sasl"
    files.mkdir()
    ours, ca, users = trustme.CA(), files / "ca.pem", files / "users"
    ours.cert_pem.write_to_path(ca)
    secret = run(program("gsasl"), "--mkpasswd", "-m", "SCRAM-SHA-256", "-p", PASSWORD, "--iteration-count", "4096")
    users.write_text(f"{scram.name}:{secret.stdout.strip()}\n{users_line(other, PASSWORD)}{locked.name}:!\n")
    users.chmod(0o640)
    before = ", ".join(f'"{each}"' for each in ORDER if each != "EXTERNAL")
    after = ", ".join(f'"{each}"' for each in ORDER)
    auth = AUTH.format(users=users, mechanisms=before, nobody=free_port())
    with mastered(root, "sasl", mail, users_file, all_users, backend_certificate) as servers:
        with gateway(root / "sasl-gateway", gateway_certificate, LISTENERS, servers.pools, server=auth) as running:
            ask_for_certificates(running, ca, before, after)
            yield Site(running, scram, other, locked, ours, files)
        assert PASSWORD not in running.log.read_text()


def ask_for_certificates(gate: Gateway, ca: Path, before: str, after: str) -> None:
    """Reload with certificates of ``ca``. ``before``, ``after``: the config's list of mechanisms."""
    text = gate.config.read_text()
    assert before in text and "[tls]\n" in text
    gate.config.write_text(text.replace(before, after).replace("[tls]\n", f'[tls]\nclient_ca = "{ca}"\n'))
    gate.signal(signal.SIGHUP)
    gate.event("config_reloaded", lambda _: True)


# -- what is offered --------------------------------------------------------------------------------------


def offered(gate: Gateway, protocol: str, context: ssl.SSLContext | None) -> tuple[str, ...]:
    """The mechanisms, in their order; ``context``: None for a client that stays in clear."""
    port = gate.ports[LISTENER[protocol, "starttls"]]
    if protocol == "imap":
        with imaplib.IMAP4(GATEWAY_NAME, port, timeout=30) as client:
            if context is not None:
                client.starttls(context)
            return tuple(each[5:] for each in client.capabilities if each.startswith("AUTH="))
    if protocol == "pop3":
        popper = poplib.POP3(GATEWAY_NAME, port, timeout=30)
        try:
            if context is not None:
                popper.stls(context)
            return tuple(popper.capa().get("SASL", []))
        finally:
            popper.close()
    with smtplib.SMTP(GATEWAY_NAME, port, timeout=30) as sender:
        if context is not None:
            sender.starttls(context=context)
        sender.ehlo()
        # smtplib puts what it has read of old servers' "AUTH=" ahead.
        return tuple(sender.esmtp_features.get("auth", "").split())


@pytest.mark.parametrize("protocol", ["imap", "pop3", "submission"])
def test_what_is_offered(site: Site, protocol: str) -> None:
    """What this connection can carry, as the config orders it; in clear nothing."""
    mine = site.certificate(site.ours, site.other.name)
    older = site.context(mine)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    assert offered(site.gate, protocol, None) == ()
    assert offered(site.gate, protocol, site.context(mine)) == ORDER
    assert offered(site.gate, protocol, site.context()) == without("EXTERNAL")
    assert offered(site.gate, protocol, older) == without("SCRAM-SHA-256-PLUS")


def without(mechanism: str) -> tuple[str, ...]:
    return tuple(each for each in ORDER if each != mechanism)


@pytest.mark.parametrize("mechanism", ORDER)
def test_nothing_is_begun_in_clear(site: Site, mechanism: str) -> None:
    for name, command, refused in (
        ("imap", f"a AUTHENTICATE {mechanism}", b"a NO [PRIVACYREQUIRED] "),
        ("pop3", f"AUTH {mechanism}", b"-ERR "),
        ("submission", f"AUTH {mechanism}", b"538 5.7.11 "),
    ):
        with Wire(site.gate.ports[name]) as client:
            client.line()
            if name == "submission":
                client.send(b"EHLO me.example\r\n")
                client.until(b"250 ")
            client.send(command.encode() + b"\r\n")
            assert client.line().startswith(refused)


# -- SCRAM ------------------------------------------------------------------------------------------------


def gsasl(
    site: Site, protocol: str, user: str, *options: str, password: str = PASSWORD, port: int | None = None
) -> bool:
    """Whether it logs in, over STARTTLS, and has found our proof right. ``port``: instead of the gateway's."""
    listener = LISTENER["submission" if protocol == "smtp" else protocol, "starttls"]
    server = f"{GATEWAY_NAME}:{port or site.gate.ports[listener]}"
    options = ("--starttls", "--x509-ca-file", str(site.gate.ca), "-a", user, "-p", password, *options)
    return run(program("gsasl"), f"--{protocol}", *options, "--connect", server).returncode == 0


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
@pytest.mark.parametrize(
    ("mechanism", "version", "options"),
    [
        ("SCRAM-SHA-256-PLUS", "TLSv1.3", ()),
        ("SCRAM-SHA-256", "TLSv1.3", ("--no-cb",)),
        ("SCRAM-SHA-256", "TLSv1.2", ("--no-cb", *TLS12)),
    ],
)
def test_a_proof_of_the_password(
    site: Site, protocol: str, mechanism: str, version: str, options: tuple[str, ...]
) -> None:
    """The password itself is shown to nobody, and the mailbox is open."""
    assert gsasl(site, protocol, site.scram.name, "-m", mechanism, *options)
    assert site.gate.event(
        "session",
        lambda event: (
            (event["user"], event["mechanism"], event["tls_version"], event["listener"], event["result"])
            == (site.scram.name, mechanism, version, "imap" if protocol == "imap" else "submission", "ok")
        ),
    )


def test_a_wrong_password_has_a_wrong_proof(site: Site) -> None:
    assert not gsasl(site, "imap", site.scram.name, "-m", "SCRAM-SHA-256-PLUS", password="wrong")
    told = site.gate.event("auth_failed", lambda event: event["reason"] == "invalid-proof")
    assert (told["user"], told["mechanism"]) == (site.scram.name, "SCRAM-SHA-256-PLUS")


@contextmanager
def between(site: Site, certificate: Certificate) -> Iterator[int]:
    """Somebody with a certificate that clients trust, who passes all on, once. The port, of IMAP with STARTTLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)

    def relay() -> None:
        accepted, _ = listener.accept()
        accepted.settimeout(20)
        with accepted, Wire(site.gate.ports["imaps"]) as gate:
            gate.start_tls(site.gate.ca)
            accepted.sendall(gate.line() + b"\r\n")
            while b"STARTTLS" not in (line := _line(accepted)):
                accepted.sendall(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + line.split()[0] + b" OK\r\n")
            accepted.sendall(line.split()[0] + b" OK\r\n")
            with context.wrap_socket(accepted, server_side=True) as client:
                while line := _line(client):
                    gate.send(line)
                    while (said := gate.line()).startswith(b"* "):
                        client.sendall(said + b"\r\n")
                    client.sendall(said + b"\r\n")

    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=relay)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_who_is_between_gets_no_proof_that_is_good(site: Site, gateway_certificate: Certificate) -> None:
    """Unless the client binds nothing, and trusts certificates alone."""
    user = site.scram.name
    with between(site, gateway_certificate) as port:
        assert gsasl(site, "imap", user, "-m", "SCRAM-SHA-256", "--no-cb", port=port)
    with between(site, gateway_certificate) as port:
        assert not gsasl(site, "imap", user, "-m", "SCRAM-SHA-256-PLUS", port=port)
    site.gate.event("auth_failed", lambda event: event["reason"] == "channel-bindings-dont-match")


def _line(connected: socket.socket) -> bytes:
    """With its end, and nothing of what is behind; b"" where the connection ends."""
    line = b""
    while not line.endswith(b"\n") and (octet := connected.recv(1)):
        line += octet
    return line


class Scram:
    """A client of RFC 5802's own words, over IMAP or POP3: for what gsasl doesn't do. ``tls``: its connection."""

    def __init__(self, site: Site, protocol: str = "imap") -> None:
        self._wire = Wire(site.gate.ports[LISTENER[protocol, "implicit"]])
        self._wire.start_tls(site.gate.ca)
        self._wire.line()
        self._command = "a AUTHENTICATE" if protocol == "imap" else "AUTH"

    def __enter__(self) -> Scram:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__(None, None, None)

    def asks(self, user: str, flag: str = "n") -> dict[str, str]:
        """What the server says first: nonce, salt and iterations. ``flag``: "y" could bind, but isn't offered it."""
        self._bare = f"n={user},r=nonce"
        first = base64.b64encode(f"{flag},,{self._bare}".encode()).decode()
        self._wire.send(f"{self._command} SCRAM-SHA-256 {first}\r\n".encode())
        self._said = base64.b64decode(self._challenge()).decode()
        return dict(each.split("=", 1) for each in self._said.split(","))

    def proves(self, password: str, asked: dict[str, str]) -> tuple[str, bytes]:
        """What the server says to the proof, and to the empty answer to that."""
        final = f"c=biws,r={asked['r']}"
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(asked["s"]), int(asked["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        message = f"{self._bare},{self._said},{final}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self._wire.send(base64.b64encode(f"{final},p={proof}".encode()) + b"\r\n")
        told = base64.b64decode(self._challenge()).decode()
        self._wire.send(b"\r\n")
        return told, self._wire.line()

    def _challenge(self) -> bytes:
        line = self._wire.line()
        assert line.startswith(b"+ ")
        return line[2:]


@pytest.mark.parametrize(("protocol", "ok"), [("imap", b"a OK "), ("pop3", b"+OK")])
def test_the_gateway_proves_itself_too(site: Site, protocol: str, ok: bytes) -> None:
    with Scram(site, protocol) as client:
        told, reply = client.proves(PASSWORD, client.asks(site.scram.name))
    assert told.startswith("v=")
    assert reply.startswith(ok)


def test_who_hides_that_we_bind_is_found_out(site: Site) -> None:
    """The client could, and has seen no PLUS (RFC 5802 6)."""
    with Scram(site) as client:
        assert client.asks(site.scram.name, "y") == {"e": "server-does-support-channel-binding"}


@pytest.mark.parametrize(("protocol", "no"), [("imap", b"a NO [AUTHENTICATIONFAILED] "), ("pop3", b"-ERR [AUTH] ")])
def test_who_is_unknown_is_treated_as_who_has_a_secret(site: Site, protocol: str, no: bytes) -> None:
    """The salt is the same each time, and the user's own; so it is for who has a password of another kind."""
    salts = {}
    for user in (site.scram.name, "nobody@example.test", "noone@example.test", site.other.name, site.locked.name):
        found = []
        for _ in range(2):
            with Scram(site, protocol) as client:
                asked = client.asks(user)
                assert asked["i"] == "4096"
                found.append(asked["s"])
                assert client.proves(PASSWORD + "?", asked) == ("e=invalid-proof", no + b"Authentication failed")
        assert found[0] == found[1]
        salts[user] = found[0]
    assert len({*salts.values()}) == 5
    assert len({len(base64.b64decode(salt)) for salt in salts.values()}) == 1


def test_a_user_with_another_hash_logs_in_by_password(site: Site) -> None:
    """And has no proof that would be right."""
    with site.imap(None) as client:
        client.authenticate("PLAIN", lambda _: site.other.plain)
    assert not gsasl(site, "imap", site.other.name, "-m", "SCRAM-SHA-256-PLUS")


# -- EXTERNAL ---------------------------------------------------------------------------------------------


def curl(site: Site, url: str, user: str, certificate: Path, *options: str) -> int:
    options = ("--silent", "--max-time", "20", "--cacert", str(site.gate.ca), *options)
    options += ("--user", f"{user}:", "--login-options", "AUTH=EXTERNAL", "--cert", str(certificate))
    return run(program("curl"), *options, url).returncode


@pytest.mark.parametrize(("listener", "scheme"), [("imaps", "imaps"), ("pop3s", "pop3s"), ("submissions", "smtps")])
def test_a_certificate_logs_its_owner_in(site: Site, listener: str, scheme: str) -> None:
    """curl names whom it wants to be."""
    user = site.other.name
    options = ("--request", "NOOP") if scheme == "smtps" else ()
    url = f"{scheme}://{GATEWAY_NAME}:{site.gate.ports[listener]}/"
    assert curl(site, url, user, site.certificate(site.ours, user), *options) == 0
    session = site.gate.event(
        "session", lambda event: (event["listener"], event["mechanism"]) == (listener, "EXTERNAL")
    )
    assert (session["user"], session["result"]) == (user, "ok")


def test_gsasl_has_a_certificate_too(site: Site) -> None:
    """Over STARTTLS, and without a name."""
    mine = str(site.certificate(site.ours, site.scram.name))
    server = f"{GATEWAY_NAME}:{site.gate.ports['submission']}"
    options = ("--starttls", "--x509-ca-file", str(site.gate.ca), "--x509-cert-file", mine, "--x509-key-file", mine)
    done = run(program("gsasl"), "--smtp", *options, "-m", "EXTERNAL", "-z", "", "--connect", server)
    assert done.returncode == 0
    assert site.session(site.scram.name, "EXTERNAL")["result"] == "ok"


def test_a_resumed_session_still_has_its_certificate(site: Site) -> None:
    """Though the client shows it only once."""
    context = site.context(site.certificate(site.ours, site.other.name))
    session = None
    for _ in range(2):
        with (
            socket.create_connection((GATEWAY_NAME, site.gate.ports["imaps"]), timeout=20) as connected,
            context.wrap_socket(connected, server_hostname=GATEWAY_NAME, session=session) as client,
        ):
            assert client.session_reused is (session is not None)
            assert b" AUTH=EXTERNAL " in client.recv(4096)
            session = client.session
            client.sendall(b"a AUTHENTICATE EXTERNAL =\r\n")
            assert client.recv(4096).startswith(b"a OK ")


@pytest.mark.parametrize("whose", ["foreign", "expired"])
def test_a_certificate_that_is_not_ours_gets_no_session(site: Site, whose: str) -> None:
    ca = trustme.CA() if whose == "foreign" else site.ours
    certificate = site.certificate(ca, site.other.name, expired=whose == "expired")
    refused = site.gate.metric("tlsgate_tls_handshakes_total", listener="imaps", result="failed")
    with pytest.raises((ssl.SSLError, ConnectionError)), site.imap(certificate):
        pass  # by TLS 1.3 the client hears of it when it reads
    assert site.gate.metric("tlsgate_tls_handshakes_total", listener="imaps", result="failed") == refused + 1


def test_a_certificate_is_its_owners(site: Site) -> None:
    """Nobody becomes another by asking for it; a password says who somebody is, whatever the certificate."""
    mine = site.certificate(site.ours, site.other.name)
    assert curl(site, f"imaps://{GATEWAY_NAME}:{site.gate.ports['imaps']}/", site.scram.name, mine) == CURL_LOGIN_DENIED
    with site.imap(mine) as client:
        with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHORIZATIONFAILED\]"):
            client.authenticate("EXTERNAL", lambda _: site.scram.name.encode())
        client.authenticate("EXTERNAL", lambda _: b"")
        assert client.select()[0] == "OK"


def test_who_is_locked_or_unknown_has_a_certificate_in_vain(site: Site) -> None:
    for user in (site.locked.name, "nobody@example.test"):
        with (
            site.imap(site.certificate(site.ours, user)) as client,
            pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"),
        ):
            client.authenticate("EXTERNAL", lambda _: b"")


def test_without_a_certificate_there_is_no_external(site: Site) -> None:
    """Not offered, and not taken."""
    with site.imap(None) as client:
        assert "AUTH=EXTERNAL" not in client.capabilities
        with pytest.raises(imaplib.IMAP4.error, match=r"\[CANNOT\]"):
            client.authenticate("EXTERNAL", lambda _: site.other.name.encode())
