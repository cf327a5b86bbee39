"""Access tokens of an issuer with keys and introspection, by real clients through a real gateway."""

from __future__ import annotations

import base64
import imaplib
import json
import poplib
import smtplib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc.jwk import ECKey, Key, RSAKey

from tests.auth.oauth.issuer import key_set, public, signed
from tests.system.accounts import User
from tests.system.certificates import GATEWAY_NAME, Certificate
from tests.system.clients import body_of, fetched, imap, message, pop3, smtp, wait_for_mail
from tests.system.dovecot import Dovecot
from tests.system.gateway import Event, Gateway, Listener, Pool, gateway
from tests.system.masters import mastered
from tests.system.peers import HOST, program, run, wait_until
from tests.system.wire import Wire
from tlsgate.auth.oauth.key_cache import PAUSE

LISTENERS = [
    Listener("imaps", "imap", "implicit", "imap"),
    Listener("pop3s", "pop3", "implicit", "pop3"),
    Listener("smtps", "submission", "implicit", "smtp"),
]
ISSUER, AUDIENCE, SCOPE = "https://id.example.org/realm", "https://mail.example.org", "mail"
WHERE = f"{ISSUER}/.well-known/openid-configuration"
SECRET = "of-the-gateway-at-its-issuer"
AUTH = """drain = "2s"
[auth]
source = "oauth"
mechanisms = [{mechanisms}]
[auth.oauth]
issuer = "{issuer}"
audience = "{audience}"
scope = "{scope}"
pool_claim = "mail_pool"
jwks_url = "http://{host}:{port}/keys"
introspection_url = "http://{host}:{port}/introspect"
client_id = "gate"
client_secret_file = "{secret}"
"""
BOTH = '"OAUTHBEARER", "XOAUTH2"'
PASSDB = """auth_mechanisms = plain login oauthbearer xoauth2
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {path}
}}"""
DOVECOT = """introspection_mode = post
introspection_url = http://gate:{secret}@{host}:{port}/introspect
username_attribute = email
active_attribute = active
active_value = true
scope = {scope}
openid_configuration_url = {where}
"""
CURL_LOGIN_DENIED = 67


@dataclass
class Issuer:
    """``keys``: what it publishes. ``opaque``: what it says of tokens that are no JWTs; ``introspected``: how often.

    ``fetched_at``: when its keys were, by the monotonic clock. ``down``: it can't answer.
    """

    port: int
    keys: dict[str, Key]
    opaque: dict[str, dict[str, Any]] = field(default_factory=dict)
    introspected: int = 0
    fetched_at: list[float] = field(default_factory=list)
    down: bool = False

    def token(self, user: str, kid: str = "rsa", **claims: Any) -> str:
        """A token that is good unless ``claims`` make it another."""
        key = self.keys[kid]
        algorithm = "RS256" if key.key_type == "RSA" else "ES256"
        return signed(key, {**self.claims(user), **claims}, algorithm, kid).text

    def claims(self, user: str) -> dict[str, Any]:
        now = time.time()
        times = {"iat": now, "exp": now + 600}
        return {"iss": ISSUER, "aud": AUDIENCE, "email": user, "scope": f"openid {SCOPE}", **times}


@contextmanager
def issuing() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            issuer.fetched_at.append(time.monotonic())
            self._answer(key_set(*(public(key, kid, use="sig") for kid, key in issuer.keys.items())))

        def do_POST(self) -> None:
            issuer.introspected += 1
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            known = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            said = issuer.opaque.get(form["token"][0]) if known == f"gate:{SECRET}" else None
            self._answer(json.dumps({"active": False} if said is None else {"active": True, **said}).encode())

        def _answer(self, content: bytes) -> None:
            self.send_response(503 if issuer.down else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        keys: dict[str, Key] = {"rsa": RSAKey.generate_key(2048), "ec": ECKey.generate_key("P-256")}
        issuer = Issuer(server.server_address[1], keys)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Site:
    """``dovecot``: behind the gateways, and itself one that takes tokens of the issuer."""

    gate: Gateway
    xoauth2_only: Gateway
    dovecot: Dovecot
    issuer: Issuer


def session(gate: Gateway, user: str, listener: str, mechanism: str) -> Event:
    """A session's last event."""
    return gate.event(
        "session", lambda event: (event["user"], event["listener"], event["mechanism"]) == (user, listener, mechanism)
    )


@pytest.fixture(scope="module")
def site(
    root: Path,
    mail: Path,
    users_file: Path,
    all_users: list[User],
    backend_certificate: Certificate,
    gateway_certificate: Certificate,
) -> Iterator[Site]:
    secret, settings = root / "oauth.secret", root / "dovecot-oauth2.conf"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    with issuing() as issuer:
        at = {"host": HOST, "port": issuer.port, "scope": SCOPE}
        settings.write_text(DOVECOT.format(**at, where=WHERE, secret=SECRET))
        settings.chmod(0o644)
        auth = AUTH.format(**at, mechanisms=BOTH, issuer=ISSUER, audience=AUDIENCE, secret=secret)
        one = auth.replace(BOTH, '"XOAUTH2"')
        passdb = PASSDB.format(path=settings)
        with mastered(root, "tokens", mail, users_file, all_users, backend_certificate, passdb) as servers:
            other = Pool("imap-by-tls", servers.dovecot.imaps, 'tls = "implicit", verify = false', servers.login)
            # A route makes it one of IMAP's.
            route = '[[routes]]\nmatch = "nobody"\nprotocol = "imap"\npool = "imap-by-tls"\n'
            pools = [*servers.pools, other]
            with (
                gateway(root / "tokens", gateway_certificate, LISTENERS, pools, server=auth + route) as running,
                gateway(root / "xoauth2", gateway_certificate, LISTENERS, servers.pools, server=one) as only,
            ):
                yield Site(running, only, servers.dovecot, issuer)
            assert SECRET not in running.log.read_text()


def xoauth2(user: str, token: str) -> bytes:
    return f"user={user}\1auth=Bearer {token}\1\1".encode()


def oauthbearer(user: str, token: str) -> bytes:
    return f"n,a={user},\1auth=Bearer {token}\1\1".encode()


INITIAL = {"XOAUTH2": xoauth2, "OAUTHBEARER": oauthbearer}


# -- tokens that are good ---------------------------------------------------------------------------------


def curl(gate: Gateway, listener: str, user: str, token: str, path: str, *options: str) -> tuple[int, str]:
    """Exit status and output. ``listener``: as the URL's scheme, whose ``path`` is the rest of it."""
    url = f"{listener}://{GATEWAY_NAME}:{gate.ports[listener]}/{path}"
    common = ("--silent", "--max-time", "20", "--cacert", str(gate.ca))
    done = run(program("curl"), *common, "--user", user, "--oauth2-bearer", token, *options, url)
    return done.returncode, done.stdout


@pytest.mark.parametrize(("mechanism", "kid"), [("OAUTHBEARER", "rsa"), ("XOAUTH2", "ec")])
def test_curl_sends_and_reads_mail(
    site: Site, fresh_users: Iterator[User], tmp_path: Path, mechanism: str, kid: str
) -> None:
    """By keys of both kinds. It takes XOAUTH2 where nothing else is offered."""
    user, gate = next(fresh_users), site.gate if mechanism == "OAUTHBEARER" else site.xoauth2_only
    token, letter = site.issuer.token(user.name, kid), tmp_path / "letter"
    letter.write_bytes(message(user, "by a token"))
    envelope = ("--mail-from", user.name, "--mail-rcpt", user.name, "--upload-file", str(letter))
    assert curl(gate, "smtps", user.name, token, "me.example", *envelope)[0] == 0
    wait_until(lambda: curl(gate, "imaps", user.name, token, "INBOX;MAILINDEX=1")[0] == 0, "the mail has come")
    status, read = curl(gate, "pop3s", user.name, token, "1")
    assert (status, read.splitlines()[-1]) == (0, "Hello.")
    for listener in ("imaps", "pop3s", "smtps"):
        assert session(gate, user.name, listener, mechanism)["result"] == "ok"


def test_python_logs_in(site: Site, user: User) -> None:
    """Without an initial response, and where the server wants one."""
    token = site.issuer.token(user.name)
    with smtp(site.gate, "smtps", "implicit") as sender:
        code, _ = sender.auth("XOAUTH2", lambda _=None: xoauth2(user.name, token).decode())
        assert code == 235
        assert sender.sendmail(user.name, [user.name], message(user, "by a token")) == {}
    with imap(site.gate, "imaps", "implicit") as reader:
        assert [each for each in reader.capabilities if each.startswith("AUTH=")] == [
            "AUTH=OAUTHBEARER",
            "AUTH=XOAUTH2",
        ]
        reader.authenticate("XOAUTH2", lambda _: xoauth2(user.name, token))
        wait_for_mail(reader, 1)
        assert body_of(fetched(reader, 1)) == b"Hello.\r\n"
    with pop3(site.gate, "pop3s", "implicit") as popper:
        assert popper.capa()["SASL"] == ["OAUTHBEARER", "XOAUTH2"]


@pytest.mark.parametrize(
    ("listener", "command", "ok"),
    [
        ("imaps", b"a AUTHENTICATE XOAUTH2 ", b"a OK "),
        ("pop3s", b"AUTH XOAUTH2 ", b"+OK"),
        ("smtps", b"AUTH XOAUTH2 ", b"235 "),
    ],
)
def test_a_token_may_be_long(site: Site, user: User, listener: str, command: bytes, ok: bytes) -> None:
    """As those with many groups in them are; the line is longer than that of any other command."""
    token = site.issuer.token(user.name, groups=["0123456789abcdef"] * 260)
    line = command + base64.b64encode(xoauth2(user.name, token)) + b"\r\n"
    assert len(line) > 8192
    with Wire(site.gate.ports[listener]) as client:
        client.start_tls(site.gate.ca)
        client.line()
        if listener == "smtps":
            client.send(b"EHLO me.example\r\n")
            client.until(b"250 ")
        client.send(line)
        assert client.line().startswith(ok)


def test_passwords_are_not_asked_for(site: Site, user: User) -> None:
    """Nobody here can judge one."""
    with imap(site.gate, "imaps", "implicit") as client:
        assert "LOGINDISABLED" in client.capabilities
        with pytest.raises(imaplib.IMAP4.error):
            client.login(user.name, f'"{user.secret}"')
        with pytest.raises(imaplib.IMAP4.error, match=r"\[CANNOT\]"):
            client.authenticate("PLAIN", lambda _: user.plain)
    with pop3(site.gate, "pop3s", "implicit") as popper:
        assert "USER" not in popper.capa()
        with pytest.raises(poplib.error_proto):
            popper.user(user.name)


def test_an_opaque_token_is_asked_about(site: Site, user: User) -> None:
    site.issuer.opaque["opaque-1"] = {"aud": AUDIENCE, "email": user.name, "scope": SCOPE}
    asked = site.issuer.introspected
    for _ in range(2):
        with imap(site.gate, "imaps", "implicit") as client:
            client.authenticate("OAUTHBEARER", lambda _: oauthbearer(user.name, "opaque-1"))
            assert client.select()[0] == "OK"
    assert site.issuer.introspected == asked + 1  # what it has said is kept for a while
    assert session(site.gate, user.name, "imaps", "OAUTHBEARER")["result"] == "ok"


def test_a_claim_names_the_pool(site: Site, fresh_users: Iterator[User]) -> None:
    """One that isn't there counts for nothing."""
    found = []
    for pool in ("imap-by-tls", "no-such-pool", "smtp"):
        user = next(fresh_users).name
        token = site.issuer.token(user, mail_pool=pool)
        with imap(site.gate, "imaps", "implicit") as client:
            client.authenticate("XOAUTH2", lambda _: xoauth2(user, token))  # noqa: B023
        found.append(session(site.gate, user, "imaps", "XOAUTH2")["backend"])
    usual = f"{HOST}:{site.dovecot.imap}"
    assert found == [f"{HOST}:{site.dovecot.imaps}", usual, usual]


# -- tokens that aren't -----------------------------------------------------------------------------------


def refused(
    port: int, ca: Path | None, mechanism: str, user: str, token: str, protocol: str = "imap"
) -> tuple[dict[str, str], bytes]:
    """What a server says to a token: the challenge, and then the reply. The token isn't an initial response."""
    more = b"334 " if protocol == "smtp" else b"+ "
    with Wire(port) as client:
        if ca is not None:
            client.start_tls(ca)
        client.line()
        if protocol == "smtp":
            client.send(b"EHLO me.example\r\n")
            client.until(b"250 ")
        client.send({"imap": b"a AUTHENTICATE "}.get(protocol, b"AUTH ") + mechanism.encode() + b"\r\n")
        assert client.line().rstrip() == more.rstrip()
        client.send(base64.b64encode(INITIAL[mechanism](user, token)) + b"\r\n")
        challenge = client.line()
        assert challenge.startswith(more)
        client.send(base64.b64encode(b"\1" if mechanism == "OAUTHBEARER" else b"") + b"\r\n")
        return json.loads(base64.b64decode(challenge[len(more) :])), client.line()


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_bad_token_is_answered_as_dovecot_answers(site: Site, user: User, mechanism: str) -> None:
    """Where both say something; Dovecot names the scope in one mechanism, and the configuration in both."""
    site.issuer.opaque["opaque-0"] = {"aud": AUDIENCE, "email": user.name, "scope": SCOPE}
    with imaplib.IMAP4(HOST, site.dovecot.imap, timeout=30) as client:
        client.authenticate(mechanism, lambda _: INITIAL[mechanism](user.name, "opaque-0"))
    theirs, their_reply = refused(site.dovecot.imap, None, mechanism, user.name, "bad-token")
    ours, our_reply = refused(site.gate.ports["imaps"], site.gate.ca, mechanism, user.name, "bad-token")
    both = ours.keys() & theirs.keys()
    assert both >= ({"status"} if mechanism == "OAUTHBEARER" else {"status", "schemes", "scope"})
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}
    assert {our_reply[:27], their_reply[:27]} == {b"a NO [AUTHENTICATIONFAILED]"}


@pytest.mark.parametrize(
    ("listener", "protocol", "reply"), [("pop3s", "pop3", b"-ERR [AUTH] "), ("smtps", "smtp", b"535 5.7.8 ")]
)
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_bad_token_in_the_other_protocols(
    site: Site, user: User, listener: str, protocol: str, reply: bytes, mechanism: str
) -> None:
    at = site.gate.ports[listener], site.gate.ca
    said, end = refused(*at, mechanism, user.name, site.issuer.token(user.name, exp=1.0), protocol)
    assert said["status"] == ("invalid_token" if mechanism == "OAUTHBEARER" else "401")
    assert end.startswith(reply)


def faults(site: Site, user: str) -> dict[str, str]:
    """Tokens, by what is wrong with them."""
    now, make = time.time(), site.issuer.token
    good = make(user)
    head, body, signature = good.split(".")
    forged = signed(RSAKey.generate_key(2048), site.issuer.claims(user), "RS256", "rsa").text
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return {
        "expired": make(user, exp=now - 3600),
        "from another issuer": make(user, iss="https://else.example.org"),
        "for another audience": make(user, aud="https://calendar.example.org"),
        "without the claim that names the user": make(user, email=None),
        "the token is somebody else's": make("somebody.else@example.test"),
        "forged": forged,
        "unsigned": f"{none}.{body}.",
        "changed": f"{head}.{body[:-6]}AAAAAA.{signature}",
    }


def test_bad_tokens_let_nobody_in(site: Site, user: User) -> None:
    """Clients hear the same of each; the log knows why, and shows no token."""
    bad = faults(site, user.name)
    for why, token in bad.items():
        said, reply = refused(site.gate.ports["imaps"], site.gate.ca, "OAUTHBEARER", user.name, token)
        assert said == {"status": "invalid_token", "scope": SCOPE, "openid-configuration": WHERE}
        # An expired one was good: no guess, and the client is told to get another.
        assert reply.startswith(b"a NO [EXPIRED] " if why == "expired" else b"a NO [AUTHENTICATIONFAILED] ")
    wait_until(lambda: len(_failed(site, user.name)) == len(bad), "all are logged")
    assert [reason for reason in list(bad)[:5] if reason not in _failed(site, user.name)] == []
    logged = site.gate.log.read_text()
    assert not [token for token in bad.values() if token[:40] in logged]


def _failed(site: Site, user: str) -> list[str]:
    return [event["reason"] for event in site.gate.events("auth_failed") if event["user"] == user]


def test_a_token_without_the_scope_is_told_so(site: Site, user: User) -> None:
    token = site.issuer.token(user.name, scope="openid")
    said, reply = refused(site.gate.ports["imaps"], site.gate.ca, "XOAUTH2", user.name, token)
    assert said == {"status": "403", "schemes": "bearer", "scope": SCOPE}
    assert reply.startswith(b"a NO [AUTHORIZATIONFAILED] ")


def test_libraries_understand_the_refusal(site: Site, user: User) -> None:
    """They answer the challenge, hear the reply, and may go on."""
    expired, good = site.issuer.token(user.name, exp=1.0), site.issuer.token(user.name)
    with imap(site.gate, "imaps", "implicit") as client:
        tokens = iter((xoauth2(user.name, expired), b""))
        with pytest.raises(imaplib.IMAP4.error, match=r"\[EXPIRED\]"):
            client.authenticate("XOAUTH2", lambda _: next(tokens))
        client.authenticate("XOAUTH2", lambda _: xoauth2(user.name, good))
    with smtp(site.gate, "smtps", "implicit") as sender:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            sender.auth("XOAUTH2", lambda said=None: "" if said else xoauth2(user.name, expired).decode())
        assert refusal.value.smtp_code == 535
        assert sender.auth("XOAUTH2", lambda _=None: xoauth2(user.name, good).decode())[0] == 235
    for listener in ("imaps", "pop3s", "smtps"):
        for gate in (site.gate, site.xoauth2_only):
            options = ("me.example", "--request", "NOOP") if listener == "smtps" else ("",)
            assert curl(gate, listener, user.name, expired, *options)[0] == CURL_LOGIN_DENIED


# -- the issuer -------------------------------------------------------------------------------------------


def test_without_the_issuer_no_token_is_bad(site: Site, user: User) -> None:
    """What is known of one is not forgotten meanwhile."""
    site.issuer.opaque["opaque-2"] = site.issuer.opaque["opaque-3"] = site.issuer.claims(user.name)
    with imap(site.gate, "imaps", "implicit") as client:
        client.authenticate("XOAUTH2", lambda _: xoauth2(user.name, "opaque-2"))
    site.issuer.down = True
    try:
        with imap(site.gate, "imaps", "implicit") as client:
            with pytest.raises(imaplib.IMAP4.error, match=r"\[UNAVAILABLE\]"):
                client.authenticate("XOAUTH2", lambda _: xoauth2(user.name, "opaque-3"))
            client.authenticate("XOAUTH2", lambda _: xoauth2(user.name, "opaque-2"))
        with smtp(site.gate, "smtps", "implicit") as sender:
            with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
                sender.auth("XOAUTH2", lambda _=None: xoauth2(user.name, "opaque-3").decode())
            assert refusal.value.smtp_code == 454
        with Wire(site.gate.ports["pop3s"]) as popper:
            popper.start_tls(site.gate.ca)
            popper.line()
            popper.send(b"AUTH XOAUTH2 " + base64.b64encode(xoauth2(user.name, "opaque-3")) + b"\r\n")
            assert popper.line().startswith(b"-ERR [SYS/TEMP] ")
    finally:
        site.issuer.down = False
    told = site.gate.event("login_unavailable", lambda event: event["user"] == user.name)
    assert told["reason"] == "oauth: the issuer: status 503"
    assert not _failed(site, user.name)


def test_new_keys_are_fetched_when_a_token_has_one(site: Site, user: User) -> None:
    """But not for each such token. A key that the issuer no longer publishes is no longer good."""
    before = site.issuer.token(user.name)
    assert _logs_in(site, user.name, before)
    fetched_at = site.issuer.fetched_at[-1]
    times = len(site.issuer.fetched_at)
    site.issuer.keys["new"] = ECKey.generate_key("P-256")
    del site.issuer.keys["rsa"]
    after = site.issuer.token(user.name, "new")
    for _ in range(3):
        assert not _logs_in(site, user.name, after)
    assert len(site.issuer.fetched_at) == times
    assert _logs_in(site, user.name, before)
    wait_until(lambda: time.monotonic() > fetched_at + PAUSE + 0.5, "the keys may be fetched again", PAUSE + 5)
    assert _logs_in(site, user.name, after)
    assert not _logs_in(site, user.name, before)
    assert len(site.issuer.fetched_at) == times + 1


def _logs_in(site: Site, user: str, token: str) -> bool:
    """Whether the token is taken; if not, it is called bad."""
    with imap(site.gate, "imaps", "implicit") as client:
        answers = iter((xoauth2(user, token), b""))
        try:
            client.authenticate("XOAUTH2", lambda _: next(answers))
        except imaplib.IMAP4.error as error:
            assert "[AUTHENTICATIONFAILED]" in str(error)
            return False
        return True
