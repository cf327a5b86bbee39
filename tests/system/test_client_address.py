"""Who the client is: from a balancer's PROXY header to what real Dovecot and Postfix log of it, by every way."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.clients import message
from tests.system.dovecot import Dovecot, dovecot
from tests.system.gateway import Event, Gateway, Listener, Pool, gateway
from tests.system.peers import wait_until
from tests.system.postfix import Postfix, postfix
from tests.system.test_trusted_backend import users_line
from tests.system.wire import Wire
from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.proxy import proxy_v1, proxy_v2

TRUST = "login_trusted_networks = 127.0.0.0/8\nhaproxy_trusted_networks = 127.0.0.0/8"
DOVECOT = {
    "protocols = imap pop3": f"protocols = imap pop3\n{TRUST}",
    "    ssl = yes\n  }": "    ssl = yes\n    haproxy = yes\n  }",
}
POSTFIX = {
    "mydestination =": "smtpd_authorized_xclient_hosts = 127.0.0.0/8\nmydestination =",
    "-o smtpd_sasl_mechanism_filter=login": "-o smtpd_upstream_proxy_protocol=haproxy",
    "-o smtpd_tls_wrappermode=yes": "-o smtpd_tls_wrappermode=yes\n  -o smtpd_upstream_proxy_protocol=haproxy",
}
OVER_TLS = 'tls = "implicit", verify = false'
IMAP, POP3, SMTP = ("imap-v2", "imap-id"), ("pop3-v1", "pop3-xclient"), ("smtp-v1", "smtp-v2", "smtp-xclient")
VOUCHED = "smtp-vouched"
HAS_SESSION = ("imap-id", "pop3-xclient")
numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway, whose listeners are called as their pools; the servers behind it, and a user of both."""

    gate: Gateway
    dovecot: Dovecot
    postfix: Postfix
    user: User


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
    user, names = next(fresh_users), [each.name for each in all_users]
    known = root / "proxied-users"
    known.write_text(users_line(user))
    known.chmod(0o640)
    auth = f'drain = "2s"\n[auth]\nsource = "users-file"\nusers_file = "{known}"'
    with (
        dovecot(root / "dovecot-proxied", mail, users_file, backend_certificate, DOVECOT) as store,
        postfix(root / "postfix-proxied", mail, names, store.auth, backend_certificate, POSTFIX) as sender,
    ):
        pools = [
            Pool("imap-v2", store.imaps, OVER_TLS, 'client_address = "proxy-v2"'),
            Pool("imap-id", store.imap, rest='client_address = "imap-id"'),
            Pool("pop3-v1", store.pop3s, OVER_TLS, 'client_address = "proxy-v1"'),
            Pool("pop3-xclient", store.pop3, rest='client_address = "xclient"'),
            Pool("smtp-v1", sender.login_only, rest='client_address = "proxy-v1"'),
            Pool("smtp-v2", sender.smtps, OVER_TLS, 'client_address = "proxy-v2"'),
            Pool("smtp-xclient", sender.smtp, rest='client_address = "xclient"'),
            Pool(VOUCHED, sender.smtp, rest='login = "none"\nclient_address = "xclient"'),
        ]
        listeners = [
            Listener(pool.name, kind, "implicit", pool.name, 'proxy_protocol_from = ["127.0.0.1"]')
            for pool in pools
            for kind in ("imap", "pop3", "submission")
            if kind[:4] == pool.name[:4].replace("smtp", "subm")
        ]
        with gateway(root / "proxied", gateway_certificate, listeners, pools, server=auth) as running:
            yield Site(running, store, sender, user)


def from_balancer(site: Site, listener: str, client: str) -> Wire:
    """A client that a balancer has brought, behind TLS and the greeting."""
    ours = "192.0.2.1" if ":" not in client else "2001:db8::1"
    ends = Endpoint(ip_address(client), 4711), Endpoint(ip_address(ours), 993)
    wire = Wire(site.gate.ports[listener])
    wire.send(proxy_v1(*ends) if next(numbers) % 2 else proxy_v2(*ends))
    wire.start_tls(site.gate.ca)
    assert wire.line()[:4].rstrip() in (b"* OK", b"+OK", b"220")
    return wire


def log_in(wire: Wire, listener: str, user: User) -> bytes:
    """The reply that decides."""
    if listener in IMAP:
        wire.send(b"a AUTHENTICATE PLAIN " + base64.b64encode(user.plain) + b"\r\n")
        return wire.until(b"a ")[-1]
    if listener in POP3:
        wire.send(f"USER {user.name}\r\n".encode())
        wire.line()
        wire.send(f"PASS {user.secret}\r\n".encode())
        return wire.line()
    wire.send(b"EHLO client.example\r\n")
    wire.until(b"250 ")
    wire.send(b"AUTH PLAIN " + base64.b64encode(user.plain) + b"\r\n")
    return wire.line()


def send(wire: Wire, user: User) -> None:
    for command, code in ((f"MAIL FROM:<{user.name}>", b"250"), (f"RCPT TO:<{user.name}>", b"250"), ("DATA", b"354")):
        wire.send(command.encode() + b"\r\n")
        assert wire.line()[:3] == code
    wire.send(message(user, "told") + b".\r\n")
    assert wire.line()[:3] == b"250"


def session_of(site: Site, client: str) -> Event:
    return site.gate.event("session", lambda event: event["client"] == client)


def line_of(log: Path | None, *words: str) -> str:
    """Wait for the log's line that has all the words."""
    assert log is not None
    found: list[str] = []

    def look() -> bool:
        found[:] = [line for line in log.read_text().splitlines() if all(word in line for word in words)]
        return bool(found)

    wait_until(look, f"a log line with {words}", 10)
    return found[0]


@pytest.mark.parametrize("client", ["203.0.113.{}", "2001:db8::{}"])
@pytest.mark.parametrize("listener", [*IMAP, *POP3])
def test_dovecot_knows_the_client(site: Site, listener: str, client: str) -> None:
    client = client.format(next(numbers))
    with from_balancer(site, listener, client) as wire:
        assert log_in(wire, listener, site.user).split()[:2] in ([b"a", b"OK"], [b"+OK", b"Logged"])
    ended = session_of(site, client)
    assert (ended["client_port"], ended["user"], ended["result"]) == (4711, site.user.name, "ok")
    line = line_of(site.dovecot.log, "Login:", f"user=<{site.user.name}>", f"rip={client},")
    if listener in HAS_SESSION:
        assert f"session=<{ended['session']}>" in line
    if listener != "pop3-xclient":  # which has no word for it
        assert "lip=192.0.2.1," in line or "lip=2001:db8::1," in line


@pytest.mark.parametrize("listener", [*SMTP, VOUCHED])
def test_postfix_knows_the_client(site: Site, listener: str) -> None:
    client = f"203.0.113.{next(numbers)}"
    with from_balancer(site, listener, client) as wire:
        assert log_in(wire, listener, site.user)[:3] == b"235"
        send(wire, site.user)
    assert session_of(site, client)["client_port"] == 4711
    line = line_of(site.postfix.log, f"client=unknown[{client}]", f"sasl_username={site.user.name}")
    assert ("sasl_method=XCLIENT" in line) is (listener == VOUCHED)


def test_a_client_that_postfix_does_not_take_is_warned_of_once(site: Site) -> None:
    """This Postfix has IPv4 only. A login with the user's own password stands; nobody's word is taken in its place."""
    for _ in range(2):
        with from_balancer(site, "smtp-xclient", "2001:db8:1::7") as wire:
            assert log_in(wire, "smtp-xclient", site.user)[:3] == b"235"
            send(wire, site.user)
        with from_balancer(site, VOUCHED, "2001:db8:1::7") as wire:
            assert log_in(wire, VOUCHED, site.user)[:3] == b"454"
    unavailable = site.gate.event("login_unavailable", lambda event: event["listener"] == VOUCHED)
    assert "smtpd_authorized_xclient_hosts" in unavailable["reason"]
    told = [(event["pool"], event["clients"]) for event in site.gate.events("client_not_told")]
    assert sorted(told) == [("smtp-vouched", "IPv6"), ("smtp-xclient", "IPv6")]


def test_a_balancer_that_says_nothing_of_its_client(site: Site) -> None:
    with Wire(site.gate.ports["imap-id"]) as wire:
        wire.send(b"a LOGIN x y\r\n")
        assert wire.ended()
    refused = site.gate.event("refused", lambda event: event["result"] == "no_proxy_header")
    assert (refused["client"], refused["listener"]) == ("127.0.0.1", "imap-id")
    assert site.gate.metric("tlsgate_connections_total", listener="imap-id", result="no_proxy_header") == 1


def test_probes_get_through(site: Site) -> None:
    """A probe without the header that its server waits for would take every backend out of service."""
    assert site.gate.events("backend_down") == []
    for name in (*IMAP, *POP3, *SMTP, VOUCHED):
        assert site.gate.metric("tlsgate_backend_up", pool=name) == 1
