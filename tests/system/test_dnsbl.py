"""DNS lists and clients' names before a real gateway: submission asks a DNS server of ours, IMAP never does."""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.dns_server import SILENT, DnsServer, has
from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.dovecot import Dovecot
from tests.system.gateway import Event, Gateway, Listener, Pool, gateway
from tests.system.peers import HOST
from tests.system.postfix import Postfix
from tests.system.wire import Wire

# A balancer brings the clients: those of loopback are nobody's business in the DNS.
_BALANCED = f'proxy_protocol_from = ["{HOST}"]'
LISTENERS = [
    Listener("submission", "submission", "starttls", "smtp", _BALANCED),
    Listener("imaps", "imap", "implicit", "imap", _BALANCED),
]
LISTED, NAMED, MISJUDGED = "198.51.100.7", "198.51.100.8", "198.51.100.9"
_TIMEOUT = 1.0


@contextmanager
def served(server: DnsServer) -> Iterator[None]:
    """``server`` on a trio loop in a thread of its own."""
    started: list[tuple[trio.CancelScope, trio.lowlevel.TrioToken]] = []
    ready = threading.Event()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await server.serve(nursery)
            started.append((nursery.cancel_scope, trio.lowlevel.current_trio_token()))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(run,), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield
    finally:
        scope, token = started[0]
        token.run_sync_soon(scope.cancel)
        thread.join(20)
        assert not thread.is_alive()


def reversed_in(zone: str, address: str) -> str:
    return ".".join([*reversed(address.split(".")), zone])


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway and the DNS that it asks."""

    gate: Gateway
    dns: DnsServer

    def asked_for(self, address: str) -> bool:
        """Whether anything was asked about a client."""
        return any(name.startswith(reversed_in("", address)) for name, _, _ in self.dns.asked)

    def session_of(self, address: str) -> Event:
        return self.gate.event("session", lambda event: event["client"] == address)

    def submit(self, address: str, user: User) -> bytes:
        """The reply to a login from ``address``."""
        with Wire(self.gate.ports["submission"]) as client:
            client.send(f"PROXY TCP4 {address} 192.0.2.1 4711 587\r\n".encode())
            client.until(b"220 ")
            client.send(b"EHLO laptop.example.net\r\n")
            client.until(b"250 ")
            client.send(b"STARTTLS\r\n")
            client.until(b"220 ")
            client.start_tls(self.gate.ca)
            client.send(b"EHLO laptop.example.net\r\n")
            client.until(b"250 ")
            client.send(b"AUTH PLAIN " + base64.b64encode(user.plain) + b"\r\n")
            said = client.line()
            if not said.startswith(b"235 "):
                assert client.ended()
            return said

    def read(self, address: str, user: User) -> bytes:
        """The reply to an IMAP login from ``address``."""
        with Wire(self.gate.ports["imaps"]) as client:
            client.send(f"PROXY TCP4 {address} 192.0.2.1 4711 993\r\n".encode())
            client.start_tls(self.gate.ca)
            client.until(b"* OK ")
            client.send(b"a AUTHENTICATE PLAIN " + base64.b64encode(user.plain) + b"\r\n")
            return client.until(b"a ")[-1]


@pytest.fixture(scope="module")
def site(
    root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, legacy_postfix: Postfix
) -> Iterator[Site]:
    dns = DnsServer()
    dns.says(reversed_in("bl.test", "127.0.0.2"), "A", has("127.0.0.2"))
    dns.says(reversed_in("bl.test", LISTED), "A", has("127.0.0.4"))
    dns.says(reversed_in("in-addr.arpa", NAMED), "PTR", has("laptop.example.net."))
    dns.says("laptop.example.net", "A", has(NAMED))
    pools = [Pool("imap", legacy_dovecot.imap), Pool("smtp", legacy_postfix.smtp)]
    with served(dns):
        asked = f"""drain = "2s"
[dns]
nameservers = ["{HOST}:{dns.port}"]
timeout = "{_TIMEOUT:g}s"
[[dnsbl]]
zone = "bl.test"
protocols = ["submission"]"""
        with gateway(root / "screening", gateway_certificate, LISTENERS, pools, server=asked) as running:
            yield Site(running, dns)


def test_a_listed_client_submits_nothing(site: Site, user: User) -> None:
    said = site.submit(LISTED, user)
    assert said == b"554 5.7.1 gate.example.test Your network is on a block list: bl.test"
    told = site.session_of(LISTED)
    assert (told["result"], told["reason"], told["client_name"]) == ("no_login", "dnsbl", None)
    assert told["screening"].startswith("dnsbl bl.test=127.0.0.4")
    decided = site.gate.event("screened", lambda event: event["session"] == told["session"])
    assert (decided["result"], decided["reason"]) == ("reject", "listed by bl.test (127.0.0.4)")
    for result in ("listed", "reject"):
        assert site.gate.metric("tlsgate_screening_total", check="dnsbl", result=result) == 1
    assert not [event for event in site.gate.events("auth_failed") if event["client"] == LISTED]


def test_another_client_does_and_the_log_has_its_name(site: Site, user: User) -> None:
    assert site.submit(NAMED, user).startswith(b"235 ")
    told = site.session_of(NAMED)
    assert (told["client_name"], told["user"]) == ("laptop.example.net", user.name)
    assert "screening" not in told


def test_a_mailbox_is_read_from_anywhere_and_nothing_is_asked(site: Site, user: User) -> None:
    """A reader of mail can't send spam; and every question would make a login dearer."""
    reader = "198.51.100.77"
    site.dns.says(reversed_in("bl.test", reader), "A", has("127.0.0.4"))
    assert site.read(reader, user).startswith(b"a OK ")
    assert site.session_of(reader)["client_name"] is None
    assert not site.asked_for(reader)


def test_a_list_that_a_reload_brings_is_tested_before_it_counts(site: Site, user: User) -> None:
    """One that lists everybody, as a dead one whose domain was sold does, would lock every user out."""
    for address in ("127.0.0.1", "127.0.0.2", MISJUDGED):
        site.dns.says(reversed_in("mad.test", address), "A", has("127.0.0.2"))
    with site.gate.config.open("a") as config:
        config.write('\n[[dnsbl]]\nzone = "mad.test"\nprotocols = ["submission"]\n')
    site.gate.signal(signal.SIGHUP)
    reloaded = site.gate.event("config_reloaded", lambda _: True)
    off = site.gate.event("dnsbl_zone_off", lambda event: event["zone"] == "mad.test")
    assert (off["level"], off["ts"] <= reloaded["ts"]) == ("error", True)
    assert site.submit(MISJUDGED, user).startswith(b"235 ")
    assert not site.dns.questions(reversed_in("mad.test", MISJUDGED))
    assert site.submit(LISTED, user).startswith(b"554 ")


def test_a_silent_dns_turns_nobody_away(site: Site, user: User) -> None:
    site.dns.everything = SILENT
    began = time.monotonic()
    assert site.submit("198.51.100.78", user).startswith(b"235 ")
    assert time.monotonic() - began < _TIMEOUT + 5
    assert site.read("198.51.100.78", user).startswith(b"a OK ")
    site.dns.everything = None
