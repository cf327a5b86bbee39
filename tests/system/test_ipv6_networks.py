"""What counts as one client's network, for clients of real IPv6 and IPv4 networks at one ``[::]`` listener.

An IPv6 customer has 2^64 addresses: whoever counts them singly counts nothing, and bans nobody.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import pytest

from tests.system.accounts import User
from tests.system.certificates import GATEWAY_NAME, Certificate
from tests.system.dovecot import Dovecot
from tests.system.gateway import Event, Gateway, Listener, Pool, gateway
from tests.system.namespace import FarNetwork, far_network
from tests.system.peers import free_port, run
from tests.system.wire import trusting

_EVERYWHERE = """
[[listeners]]
name = "{name}"
protocol = "imap"
address = "[::]:{port}"
tls = "{tls}"
pool = "imap"
"""
_CAP = 3
_BLOCKED = 6


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway, whose ``everywhere`` (STARTTLS) and ``secure`` listen on all addresses, and its clients."""

    gate: Gateway
    far: FarNetwork

    def client(self, source: str, listener: str = "everywhere") -> Client:
        return Client(self, source, listener)

    def greeting(self, source: str) -> bytes:
        with self.client(source) as client:
            return client.line()

    def refused(self, source: str) -> Event:
        """What the log says of a client that was turned away."""
        return self.gate.event("refused", lambda event: event["client"] == source)


class Client:
    """An IMAP client of the far network. Every wait is bounded; the end of input is an empty line."""

    def __init__(self, site: Site, source: str, listener: str) -> None:
        self._socket = site.far.connect(source, site.gate.ports[listener])
        self._socket.settimeout(30)
        if listener == "secure":
            try:
                self._socket = trusting(site.gate.ca).wrap_socket(self._socket, server_hostname=GATEWAY_NAME)
            except (ConnectionResetError, ssl.SSLEOFError):
                self._socket.close()
                raise ConnectionRefusedError from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._lines.close()
        self._socket.close()

    def line(self) -> bytes:
        return self._lines.readline().rstrip(b"\r\n")

    def log_in(self, user: User, secret: str = "") -> bytes:
        quoted = (secret or user.secret).replace("\\", "\\\\").replace('"', '\\"')
        assert self.line().startswith(b"* OK")
        self._socket.sendall(f'a LOGIN {user.name} "{quoted}"\r\n'.encode())
        while not (line := self.line()).startswith((b"a ", b"* BYE")):
            assert line
        return line


@pytest.fixture(scope="module")
def far() -> Iterator[FarNetwork]:
    with far_network() as network:
        yield network


@contextmanager
def served(
    far: FarNetwork, directory: Path, certificate: Certificate, backend: Dovecot, limits: str, rest: str = ""
) -> Iterator[Site]:
    """A gateway with these lines of ``[limits]``, and ``rest`` behind them."""
    ports = {"everywhere": free_port(), "secure": free_port()}
    more = _EVERYWHERE.format(name="everywhere", port=ports["everywhere"], tls="starttls")
    more += _EVERYWHERE.format(name="secure", port=ports["secure"], tls="implicit")
    listeners = [Listener("loopback", "imap", "starttls", "imap", more)]
    pools = [Pool("imap", backend.imap)]
    with gateway(directory, certificate, listeners, pools, limits=limits, admission=rest) as running:
        yield Site(replace(running, ports=running.ports | ports), far)


@pytest.fixture(scope="module")
def site(far: FarNetwork, root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot) -> Iterator[Site]:
    drop = root / "drop.txt"
    drop.write_text(f"; addresses that send nothing good\n{far.v4(_BLOCKED)}/32 # SBL1\n")
    rest = f'\n[bans]\nfailures = 2\n[admission]\nblock = ["{drop}"]\n'
    limits = f"connections_per_network = {_CAP}"
    with served(far, root / "networks", gateway_certificate, legacy_dovecot, limits, rest) as served_site:
        yield served_site


def fill(held: ExitStack, site: Site, *sources: str) -> None:
    """Take a place for each of ``sources``, until ``held`` ends."""
    for source in sources:
        assert held.enter_context(site.client(source)).line().startswith(b"* OK")


def is_full(site: Site, source: str, network: str) -> None:
    """A client is turned away since its network has no place left."""
    assert site.greeting(source).startswith(b"* BYE [LIMIT]")
    event = site.refused(source)
    assert (event["result"], event["reason"]) == ("over_network_cap", network)


def test_addresses_of_one_64_share_its_places(site: Site) -> None:
    """Else the cap is none for whoever takes a new address for each connection."""
    first, second, third = (site.far.v6(0, 1, host) for host in (1, 2, 3))
    neighbour = site.far.v6(0, 2, 1)
    with ExitStack() as held:
        fill(held, site, first, second, second)
        is_full(site, third, site.far.v6_network(0, 1))
        fill(held, site, neighbour)
    assert site.gate.metric("tlsgate_connections_total", result="over_network_cap", listener="everywhere") >= 1


def test_the_length_of_a_network_is_configured(
    far: FarNetwork, root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot
) -> None:
    """Some providers give each customer a /48: all of its /64s are one client."""
    limits = f"connections_per_network = {_CAP}\nipv6_prefix = 48"
    with (
        served(far, root / "networks-48", gateway_certificate, legacy_dovecot, limits) as site,
        ExitStack() as held,
    ):
        fill(held, site, *(far.v6(0, subnet, 1) for subnet in range(1, 1 + _CAP)))
        is_full(site, far.v6(0, 5, 1), far.v6_site(0))
        fill(held, site, far.v6(1, 1, 1))


def test_ipv4_clients_of_the_same_listener_are_ipv4(site: Site) -> None:
    """The kernel shows them as ::ffff:a.b.c.d; counted by /64 so, all of IPv4 would be one client."""
    first, second = site.far.v4(2), site.far.v4(3)
    with ExitStack() as held:
        fill(held, site, *[first] * _CAP)
        is_full(site, first, f"{first}/32")
        fill(held, site, second)
    event = site.gate.event("session", lambda event: event["client"] == second)
    assert event["listener"] == "everywhere"


def test_a_block_list_of_ipv4_holds_at_the_same_listener(site: Site) -> None:
    blocked = site.far.v4(_BLOCKED)
    assert site.greeting(blocked).startswith(b"* BYE [CONTACTADMIN]")
    event = site.refused(blocked)
    assert event["result"] == "blocked"
    assert event["reason"].startswith(f"{blocked}/32 in ")
    assert event["reason"].endswith("drop.txt: SBL1")


def test_a_rate_is_counted_per_64(
    far: FarNetwork, root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot
) -> None:
    """The next one is due in twenty minutes: slow as this machine may be, it's refused."""
    first, second, neighbour = far.v6(0, 3, 1), far.v6(0, 3, 2), far.v6(0, 4, 1)
    with served(far, root / "networks-rate", gateway_certificate, legacy_dovecot, 'rate_per_network = "3/1h"') as site:
        assert all(site.greeting(source).startswith(b"* OK") for source in (first, second, first))
        assert site.greeting(second).startswith(b"* BYE [LIMIT]")
        event = site.refused(second)
        assert (event["result"], event["reason"]) == ("over_rate", far.v6_network(0, 3))
        assert all(site.greeting(neighbour).startswith(b"* OK") for _ in range(3))


def test_failed_logins_ban_the_64_and_not_its_neighbour(site: Site, user: User) -> None:
    """Whoever guesses from a new address each time is banned; whoever has the next /64 isn't."""
    first, second, third = (site.far.v6(0, 5, host) for host in (1, 2, 3))
    network = site.far.v6_network(0, 5)
    for source, secret in ((first, "guess one"), (second, "guess two")):
        with site.client(source, "secure") as client:
            assert client.log_in(user, secret).startswith(b"a NO [AUTHENTICATIONFAILED]")
    banned = site.gate.event("banned", lambda event: event["network"] == network)
    assert (banned["seconds"], banned["count"], banned["reason"]) == (3600, 1, "failed logins")
    with pytest.raises(ConnectionRefusedError):
        site.client(third, "secure")
    assert site.greeting(third).startswith(b"* BYE [UNAVAILABLE]")
    event = site.refused(third)
    assert (event["result"], event["reason"]) == ("banned", f"{network}: failed logins")
    with site.client(site.far.v6(0, 4, 1), "secure") as neighbour:
        assert neighbour.log_in(user).startswith(b"a OK")

    listed = run(sys.executable, "-m", "tlsgate", "bans", "--config", str(site.gate.config))
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["network", network]
    as_json = run(sys.executable, "-m", "tlsgate", "bans", "--json", "--admin", f"127.0.0.1:{site.gate.admin}")
    assert [each["network"] for each in json.loads(as_json.stdout)] == [network]
