"""Clients of other networks: a network namespace that a veth pair joins to ours, and a process in it that connects.

Whatever happens to the tests, nothing stays behind: the namespace, and the pair with it, lives as long as that process,
and the process as long as we do.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.peers import needs_root, program, run, stop, wait_until

_SITES, _SUBNETS, _HOSTS = range(2), range(1, 6), range(1, 4)
_V4_HOSTS = range(2, 8)
_READY = b"ready"


@dataclass(frozen=True, slots=True)
class FarNetwork:
    """Addresses of documentation prefixes (RFC 3849, RFC 5737) on the far side. ``number``: tells runs apart."""

    number: int
    _hands: socket.socket

    def v6(self, site: int, subnet: int, host: int) -> str:
        """A client's address: ``site`` (0, 1) tells its /48, ``subnet`` (1 to 5) its /64 there."""
        return f"{self._site(site)}:{subnet:x}::{host:x}"

    def v6_network(self, site: int, subnet: int) -> str:
        """The /64 of a client's address."""
        return f"{self._site(site)}:{subnet:x}::/64"

    def v6_site(self, site: int) -> str:
        """The /48 of a client's address."""
        return f"{self._site(site)}::/48"

    def v4(self, host: int) -> str:
        """A client's IPv4 address; ``host``: 2 to 7."""
        return f"198.51.100.{self.number * 16 + host}"

    @property
    def near(self) -> tuple[str, str]:
        """Where clients reach us, by IPv6 and by IPv4."""
        return f"{self._site(0)}::ffff", self.v4(1)

    def connect(self, source: str, port: int) -> socket.socket:
        """A connection from ``source`` to our ``port``, by the same version of IP. Raises OSError."""
        near = self.near[":" not in source]
        self._hands.send(f"{source} {near} {port}".encode())
        said, descriptors, _, _ = socket.recv_fds(self._hands, 1000, 1)
        if not descriptors:
            raise OSError(f"{source} can't connect to {near}: {said.decode()}")
        return socket.socket(fileno=descriptors[0])

    def _site(self, site: int) -> str:
        return f"2001:db8:{self.number * 2 + site:x}"


@contextmanager
def far_network() -> Iterator[FarNetwork]:
    """Make the network. Skips without a kernel that gives us one, and as for any peer without root or programs."""
    _needs_namespaces()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lock, number = _take_number()
    with lock, ours:
        ours.settimeout(30)
        with theirs:
            process = subprocess.Popen(
                [program("unshare"), "--net", sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                pass_fds=[theirs.fileno()],
            )
        link = f"tgtest{number}"
        try:
            assert ours.recv(1000) == _READY
            network = FarNetwork(number, ours)
            _join(network, link, process.pid)
            yield network
        finally:
            run(program("ip"), "link", "delete", link)  # at once: the kernel takes its time over a namespace's end
            stop(process)


def _needs_namespaces() -> None:
    needs_root("a network of its own needs root")
    program("ip")
    program("nsenter")
    tried = run(program("unshare"), "--net", "true")
    if tried.returncode:  # even under CI: no package mends it
        pytest.skip(f"no network namespaces here: {tried.stderr.strip()}")
    if not socket.has_ipv6 or Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").read_text().strip() != "0":
        pytest.skip("no IPv6 here")


def _take_number() -> tuple[socket.socket, int]:
    """A number that no other run on this host has while the socket is open: its addresses would be ours."""
    for number in range(1, 16):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0tlsgate-tests-network-{number}")
        except OSError:
            lock.close()
        else:
            return lock, number
    raise OSError("too many test runs on this host")


def _join(network: FarNetwork, link: str, process: int) -> None:
    """Lay the cable: our end here, the other with all its addresses in the namespace of ``process``."""
    near6, near4 = network.near
    addresses = [network.v6(site, subnet, host) for site in _SITES for subnet in _SUBNETS for host in _HOSTS]
    far = [f"address add {each}/47 dev far nodad" for each in addresses]
    far += [f"address add {network.v4(host)}/28 dev far" for host in _V4_HOSTS]
    _ip([], f"link add {link} type veth peer name far netns {process}", f"link set {link} up")
    _ip([program("nsenter"), f"--net=/proc/{process}/ns/net"], "link set far up", *far)
    _ip([], f"address add {near6}/47 dev {link} nodad", f"address add {near4}/28 dev {link}")
    wait_until(lambda: _reaches(addresses[-1]) and _reaches(network.v4(_V4_HOSTS[-1])), "the far network is there")


def _ip(before: list[str], *commands: str) -> None:
    done = run(*before, program("ip"), "-batch", "-", text="\n".join(commands))
    assert done.returncode == 0, done.stderr


def _reaches(address: str) -> bool:
    """Whether a host answers: nobody listens there, and it says so."""
    try:
        socket.create_connection((address, 9), timeout=2).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def _connect(source: str, target: str, port: str) -> socket.socket:
    return socket.create_connection((target, int(port)), timeout=10, source_address=(source, 0))


def _serve(hands: socket.socket) -> None:
    """In the namespace: hand over connected sockets, "source target port" for each, until nobody asks any more."""
    hands.send(_READY)
    while asked := hands.recv(1000):
        try:
            with _connect(*asked.decode().split()) as connection:
                connection.setblocking(True)
                socket.send_fds(hands, [b"-"], [connection.fileno()])
        except OSError as error:
            hands.send(os.strerror(error.errno).encode() if error.errno else str(error).encode())


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
