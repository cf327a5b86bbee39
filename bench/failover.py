"""What clients notice of a backend that is killed while they log in.

    python bench/failover.py [--rate 500] [--seconds 15] [--workers N]

Two backends share one pool behind `tlsgate run`; clients log in by IMAP over TLS at ``rate``, each on a connection of
its own, which it closes. At a third of the time one backend is killed (SIGKILL), at two thirds it is started again.
Prints how many logins there were and what they heard, by thirds, how many were under way at the kill, and each
backend's logins. Exit status 1 if more failed than were under way, one failed otherwise than for now, or the backend
that came back has got none.
"""

from __future__ import annotations

import argparse
import http.client
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.imap_service import backend, gateway, started
from bench.mail.servers import Server

IMPLICIT, ADMIN, BACKENDS = 17993, 17090, (17144, 17145)
_THREADS = 24
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
[pools.imap]
backends = [{{ address = "127.0.0.1:{first}" }}, {{ address = "127.0.0.1:{second}" }}]
health_interval = "1s"
slow_start = "2s"
[limits]
connections_per_user = 100000
[admission]
allow = ["127.0.0.1"]
trust = ["127.0.0.1"]
[admin]
address = "127.0.0.1:{admin}"
"""


class Clients:
    """Threads that log in, ``rate`` times a second in all. ``said``: what they have heard, by thirds of the time."""

    def __init__(self, rate: float, seconds: float, ca: Path) -> None:
        self._rate, self._seconds = rate, seconds
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._lock = threading.Lock()
        self._next = 0
        self.under_way = 0
        self.said: list[Counter[str]] = [Counter(), Counter(), Counter()]
        self.slowest = 0.0
        self._threads = [threading.Thread(target=self._run) for _ in range(_THREADS)]

    def start(self) -> None:
        self._began = time.monotonic()
        for each in self._threads:
            each.start()

    def wait(self) -> None:
        for each in self._threads:
            each.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                due = self._next / self._rate
                self._next += 1
            if due >= self._seconds:
                return
            time.sleep(max(due - (time.monotonic() - self._began), 0))
            with self._lock:
                self.under_way += 1
            began = time.monotonic()
            heard = self._log_in()
            with self._lock:
                self.under_way -= 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.said[min(int((began - self._began) / self._seconds * 3), 2)][heard] += 1

    def _log_in(self) -> str:
        try:
            with (
                socket.create_connection(("127.0.0.1", IMPLICIT), 10) as plain,
                self._tls.wrap_socket(plain, server_hostname="localhost") as client,
            ):
                client.recv(1000)
                client.sendall(b"a LOGIN ann secret\r\n")
                return " ".join(client.recv(1000).decode().split()[:3]).removesuffix(" done")
        except OSError as error:
            return type(error).__name__


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500, help="logins a second")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, _running(Path(directory), options.workers) as (backends, ca):
        clients = Clients(options.rate, options.seconds, ca)
        clients.start()
        time.sleep(options.seconds / 3)
        before, under_way = _logins(), clients.under_way
        backends[0].kill()
        time.sleep(options.seconds / 3)
        without = _logins()
        backends[0].start()
        clients.wait()
        after = _logins()
    for name, said in zip(("before", "without", "again"), clients.said, strict=True):
        print(f"{name:8} {sum(said.values()):6} logins: {', '.join(f'{n} {text!r}' for text, n in said.most_common())}")
    print(f"under way at the kill: {under_way}; slowest login: {clients.slowest * 1000:.0f} ms")
    for port in BACKENDS:
        thirds = (before[port], without[port] - before[port], after[port] - without[port])
        print(f"backend {port}: {' + '.join(map(str, thirds))} logins")
    total = sum(clients.said, Counter())
    good = sum(n for text, n in total.items() if text.startswith("a OK"))
    for_now = sum(n for text, n in total.items() if "[UNAVAILABLE]" in text)
    came_back = after[BACKENDS[0]] > without[BACKENDS[0]] + 10
    return 0 if good + for_now == total.total() and for_now <= under_way and came_back else 1


def _logins() -> dict[int, int]:
    """By backend: what it has answered, probes too."""
    connection = http.client.HTTPConnection("127.0.0.1", ADMIN, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    counted = dict.fromkeys(BACKENDS, 0)
    for line in lines:
        for port in BACKENDS:
            if line.startswith("tlsgate_backend_connect_seconds_count") and f":{port}" in line:
                counted[port] = int(float(line.split()[-1]))
    return counted


@contextmanager
def _running(directory: Path, workers: int) -> Iterator[tuple[list[Server], Path]]:
    ports = {"implicit": IMPLICIT, "first": BACKENDS[0], "second": BACKENDS[1], "admin": ADMIN}
    server, certificate = gateway(directory, _CONFIG.format(workers=workers, **ports), IMPLICIT)
    backends = [backend(directory, port) for port in BACKENDS]
    with started(*backends, server):
        yield backends, certificate


if __name__ == "__main__":
    sys.exit(main())
