"""Mail from other servers: the Postfix that gets it, clients that bring it, and the mailboxes where it arrives."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType

from tests.dns_server import DnsServer, has
from tests.system.accounts import User
from tests.system.certificates import GATEWAY_NAME, Certificate
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST, wait_until
from tests.system.postfix import DOMAIN, Postfix, postfix
from tests.system.test_dnsbl import reversed_in, served
from tests.system.wire import trusting
from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.proxy import proxy_v1

HUB = f"hub.{DOMAIN}"
"""A domain whose mail this Postfix takes for its own, whoever it is for."""
FOREIGN = "foreign.example"
POSTMASTER = User(f"postmaster@{DOMAIN}", "")
# Where a balancer's clients have connected to, by IPv4 and by IPv6.
_OURS = Endpoint(ip_address("192.0.2.1"), 25), Endpoint(ip_address("2001:db8::1"), 25)
SENDER = "ann@example.net"
SIZE = 1024 * 1024
BALANCED = f'proxy_protocol_from = ["{HOST}"]'
"""A listener's line: its clients are brought by a balancer, which we are."""
_NOBODY_SCREENED = f"""drain = "2s"
[dns]
nameservers = ["{{dns}}"]
[screening]
reverse_dns = "off"
helo = "off"
spf = "off"
surbl = "off"
[relay]
domains = ["{DOMAIN}", "{HUB}"]"""
# One server, two doors: the first trusts us as every host of its network, the second asks who our client is.
_FOR_SERVERS = {
    "smtpd_sasl_auth_enable = yes": "smtpd_sasl_auth_enable = no",
    "mynetworks = 192.0.2.1/32": f"mynetworks = {HOST}/32",
    "mydestination =": f"mydestination = {HUB}",
    "permit_sasl_authenticated, reject": "permit_mynetworks, reject_unauth_destination",
    "default_transport = error:nothing leaves this host": "default_transport = discard:nothing leaves this host",
    "-o smtpd_sasl_mechanism_filter=login": "-o smtpd_authorized_xclient_hosts=127.0.0.0/8",
}


@dataclass(frozen=True, slots=True)
class Backend:
    """A Postfix for mail from servers. ``port`` trusts loopback; ``told`` takes XCLIENT. ``mail``: its maildirs.

    ``logging``: the third door, by TLS.
    """

    server: Postfix
    config: Path
    mail: Path

    @property
    def port(self) -> int:
        return self.server.smtp

    @property
    def told(self) -> int:
        return self.server.login_only

    @property
    def logging(self) -> int:
        return self.server.smtps

    def log(self) -> str:
        assert self.server.log is not None
        return self.server.log.read_text()

    def logged(self, words: str) -> str:
        """Wait for a line of the log with these words."""
        wait_until(lambda: words in self.log(), f"{words!r} in Postfix's log")
        return next(line for line in self.log().splitlines() if words in line)

    def arrived(self, user: User) -> list[bytes]:
        """A user's messages, with LF line ends as they are stored, in the order of their delivery."""
        folder = self.mail / user.name / "new"
        found = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns) if folder.is_dir() else []
        return [file.read_bytes() for file in found]

    def wait_for(self, user: User, count: int) -> list[bytes]:
        """Wait until exactly ``count`` messages are in a user's mailbox."""
        wait_until(lambda: len(self.arrived(user)) >= count, f"{count} messages for {user.name}")
        arrived = self.arrived(user)
        assert len(arrived) == count
        return arrived


@contextmanager
def inbound_postfix(
    directory: Path,
    mail: Path,
    users: list[User],
    certificate: Certificate,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Backend]:
    """Run it. ``changes``: as those of ``postfix``, behind what it needs for mail from servers."""
    names = [user.name for user in (*users, POSTMASTER)]
    no_logins = directory / "nothing"
    with postfix(directory, mail, names, no_logins, certificate, {**_FOR_SERVERS, **changes}) as server:
        yield Backend(server, directory / "config", mail)


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway, the Postfix behind it, and the DNS that it asks."""

    gate: Gateway
    postfix: Backend
    dns: DnsServer


@contextmanager
def inbound_site(
    directory: Path,
    certificate: Certificate,
    postfix: Backend,
    listeners: list[Listener],
    pools: list[Pool],
    names: Mapping[str, str],
) -> Iterator[Site]:
    """Run a gateway that screens nobody and takes mail for DOMAIN and for HUB, up to SIZE.

    ``names``: clients' confirmed names, by their addresses.
    """
    dns = DnsServer()
    for address, name in names.items():
        dns.says(reversed_in("in-addr.arpa", address), "PTR", has(f"{name}."))
        dns.says(name, "A", has(address))
    limits = f'message_size = "{SIZE // 1024}KiB"'
    with served(dns):
        settings = _NOBODY_SCREENED.format(dns=f"{HOST}:{dns.port}")
        with gateway(directory, certificate, listeners, pools, server=settings, limits=limits) as running:
            yield Site(running, postfix, dns)


class _Balanced(smtplib.SMTP):
    """An SMTP client that a balancer brings from the address ``client``; None: one that comes by itself."""

    def __init__(self, port: int, client: str | None, helo: str) -> None:
        self._brought = client
        super().__init__(GATEWAY_NAME, port, local_hostname=helo, timeout=30.0)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = socket.create_connection((HOST, port), timeout)
        if self._brought is not None:
            ends = Endpoint(ip_address(self._brought), 4711), _OURS[":" in self._brought]
            connected.sendall(proxy_v1(*ends))
        return connected


@contextmanager
def another_server(
    gate: Gateway, listener: str, client: str | None = None, helo: str = "mx.example.net", *, tls: bool = True
) -> Iterator[smtplib.SMTP]:
    """A mail server that has said EHLO, over verified TLS or in clear."""
    with _Balanced(gate.ports[listener], client, helo) as server:
        server.ehlo()
        if tls:
            server.starttls(context=trusting(gate.ca))
            server.ehlo()
        yield server


def said_to(client: smtplib.SMTP, sender: str, recipient: str, *parameters: str) -> str:
    """The reply to a recipient of a message from ``sender``, whose other lines follow behind a space."""
    mail = client.mail(sender, parameters)
    assert mail[0] == 250, mail
    code, text = client.docmd(f"RCPT TO:<{recipient}>")
    client.rset()
    return f"{code} {text.decode().replace(chr(10), ' ')}"


def sent(user: User, subject: str, body: bytes = b"Hello.\r\n") -> bytes:
    """A message whose header Postfix finds whole: it would add what it misses."""
    return (
        f"From: {SENDER}\r\nTo: {user.name}\r\nSubject: {subject}\r\n"
        f"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{subject.replace(' ', '.')}@example.net>\r\n\r\n"
    ).encode() + body


def unfolded(raw: bytes, name: str) -> list[str]:
    """A stored message's fields called ``name``, from its top on, each in one line without its name."""
    head = raw.partition(b"\n\n")[0].decode("utf-8", "surrogateescape")
    lines = head.replace("\n\t", " ").replace("\n ", " ").split("\n")
    return [line.partition(":")[2].strip() for line in lines if line.lower().startswith(f"{name.lower()}:")]


def behind_ours(raw: bytes) -> bytes:
    """What a stored message has behind the gateway's fields, with CR LF line ends as it was sent.

    The last of them is Received; above them is what Postfix has put there, with a Received of its own.
    """
    lines = raw.split(b"\n")
    _, ours = [number for number, line in enumerate(lines) if line.startswith(b"Received: ")][:2]
    end = next(number for number, line in enumerate(lines[ours + 1 :], ours + 1) if not line.startswith((b"\t", b" ")))
    assert b" by gate.example.test " in b" ".join(line.strip() for line in lines[ours:end])
    return b"\r\n".join(lines[end:])
