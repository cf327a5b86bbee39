"""What a flood of refused connections costs, and what logged-in users notice of it.

    python bench/flood.py [--rate 2000] [--seconds 5] [--workers N]

Starts a sample backend and `tlsgate run` (pinned to the first core where there are two), logs one session in and
measures its round trip by NOOPs: quiet, and while connections are opened at ``rate`` that are refused because their
network is blocked, is over its cap, or is over its rate; on an implicit TLS port and on a STARTTLS port. Prints CPU
per refusal (the gateway's processes, the session's own NOOPs not deducted) and the round trips.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.imap_service import backend, gateway, started
from bench.mail.servers import Server

IMPLICIT, STARTTLS, ADMIN, BACKEND = 17993, 17143, 17090, 17144
MINE, THEIRS = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
# Source addresses, and why the gateway refuses them.
FLOODS = (("blocked", "127.0.0.2"), ("over_network_cap", "127.0.0.3"), ("over_rate", "127.0.0.4"))

_CONFIG = """
[server]
hostname = "localhost"
drain = "0s"
workers = {workers}
[[listeners]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:{implicit}"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "imap"
protocol = "imap"
address = "127.0.0.1:{starttls}"
tls = "starttls"
pool = "imap"
[pools.imap]
backends = [{{ address = "127.0.0.1:{backend}" }}]
[limits]
connections_per_network = 5
rate_per_network = "20/1h"
[admission]
block = ["127.0.0.2"]
allow = ["127.0.0.1"]
[admin]
address = "127.0.0.1:{admin}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2000, help="refused connections a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each flood lasts")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, _running(Path(directory), options.workers) as server:
        held = [_from("127.0.0.3", IMPLICIT) for _ in range(5)]
        for _ in range(20):
            _from("127.0.0.4", IMPLICIT).close()
        session = _Session()
        print(f"{'':34} {'us CPU':>7} {'refusals':>9} {'round trip us':>20}")
        print(f"{'':34} {'each':>7} {'per CPU s':>9} {'p50':>10} {'p99':>9}")
        print(f"{'quiet':34} {'':7} {'':9} {_trip(session.round_trips(options.seconds))}")
        for port, mode in ((IMPLICIT, "implicit"), (STARTTLS, "starttls")):
            for reason, source in FLOODS:
                _measure(f"{reason}, {mode}", source, port, server, session, options)
        print(f"{'quiet again':34} {'':7} {'':9} {_trip(session.round_trips(options.seconds))}")
        for each in held:
            each.close()


def _measure(name: str, source: str, port: int, server: Server, session: _Session, options: argparse.Namespace) -> None:
    """One flood alone for its CPU, one beside a session for its round trips."""
    command = [sys.executable, __file__, "flood", source, str(port), str(options.rate), str(options.seconds)]
    before = server.cpu
    count = int(subprocess.run(command, stdout=subprocess.PIPE, check=True, preexec_fn=_elsewhere).stdout)
    each = (server.cpu - before) / count
    beside = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=_elsewhere)
    trips = session.round_trips(options.seconds * 0.9)
    beside.wait()
    print(f"{name + f', {count / options.seconds:.0f}/s':34} {each * 1e6:7.1f} {1 / each:9.0f} {_trip(trips)}")


def _trip(trips: list[float]) -> str:
    return f"{statistics.median(trips) * 1e6:10.0f} {statistics.quantiles(trips, n=100)[98] * 1e6:9.0f}"


class _Session:
    """A client that is logged in, and pauses a millisecond between commands."""

    def __init__(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._tls = context.wrap_socket(_from("127.0.0.1", IMPLICIT))
        self._tls.recv(1000)
        assert b" OK" in self._ask(b"a LOGIN ann secret\r\n")

    def round_trips(self, seconds: float) -> list[float]:
        """Seconds of each NOOP."""
        trips, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            self._ask(b"a NOOP\r\n")
            trips.append(time.perf_counter() - began)
            time.sleep(0.001)
        return trips

    def _ask(self, command: bytes) -> bytes:
        self._tls.sendall(command)
        return self._tls.recv(1000)


def _flood(source: str, port: int, rate: int, seconds: float) -> None:
    """Open ``rate`` connections a second and wait for each one's end; prints how many were refused."""
    selector, refused = selectors.DefaultSelector(), 0
    began, opened = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds or (len(selector.get_map()) and now < seconds + 2):
        due = min(int(now * rate) + 1, int(seconds * rate)) - opened
        for _ in range(min(due, 64)):
            client = socket.socket()
            client.setblocking(False)
            client.bind((source, 0))
            client.connect_ex(("127.0.0.1", port))
            selector.register(client, selectors.EVENT_READ)
            opened += 1
        for key, _ in selector.select(0.001):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            with suppress(OSError):
                if client.recv(1000):
                    continue
            refused += 1
            selector.unregister(client)
            client.close()
    print(refused)


@contextmanager
def _running(directory: Path, workers: int) -> Iterator[Server]:
    ports = {"implicit": IMPLICIT, "starttls": STARTTLS, "backend": BACKEND, "admin": ADMIN}
    server, _ = gateway(directory, _CONFIG.format(workers=workers, **ports), IMPLICIT, MINE)
    with started(backend(directory, BACKEND, THEIRS), server):
        yield server


def _from(source: str, port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 5, (source, 0))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _elsewhere() -> None:
    os.sched_setaffinity(0, {THEIRS})


if __name__ == "__main__":
    if sys.argv[1:2] == ["flood"]:
        _flood(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        main()
