"""Whether anything is left of sessions: as many again take no more memory, and no descriptor stays.

    python bench/leak.py [--sessions 200000]

Sessions by IMAP, POP3 and submission go through one process: handshake, login, a NOOP, logout; of ten, one has a wrong
password and three are cut, in the handshake, in the login, or once logged in. Memory (anonymous) behind the second
half may be 2 % above that behind the first, and descriptors are what they were at the start; exit status 1 otherwise.
200,000 sessions take some four minutes. Needs a C compiler with OpenSSL's headers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.mail.servers import Server
from bench.peers.gate import tlsgate
from bench.peers.load import load
from bench.peers.memory import anonymous
from bench.peers.subject import HOST, Place, Ports
from tlsgate.demo.certificate import write_certificate

PORTS = Ports(4993, 4995, 4465, 4090, 14993, 14995, 14465, 14080)
_ROOT = Path(__file__).parents[1]
_MORE = 1.02
_WARM = 2000  # sessions before the first half: what is loaded once isn't a leak
_SHARES = {"imap": 0.6, "pop3": 0.2, "smtp": 0.2}
_AT_ONCE = 16
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Left:
    """What the gateway has when all are gone: ``memory`` in KiB, descriptors; ``done``: sessions as they should be."""

    memory: int
    descriptors: int
    done: int


@dataclass(frozen=True, slots=True)
class Leaks:
    start: Left
    first: Left
    second: Left

    @property
    def none(self) -> bool:
        """Whether it is as it should be."""
        same = self.start.descriptors == self.first.descriptors == self.second.descriptors
        return same and self.second.memory <= self.first.memory * _MORE

    def __str__(self) -> str:
        rows = {"warm": self.start, "first half": self.first, "second half": self.second}
        return "\n".join(
            f"{name:12} {left.done:8,} sessions, {left.memory:7,} KiB, {left.descriptors} descriptors left"
            for name, left in rows.items()
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tlsgate-leak-") as directory:
        programs = [f"{directory}/client", f"{directory}/backend"]
        subprocess.run(["make", "-sC", str(_ROOT), f"BENCH={directory}", *programs], check=True)
        leaks = look_for_leaks(Path(directory), Path(directory), PORTS, options.sessions)
    print(leaks)
    return not leaks.none


def look_for_leaks(directory: Path, programs: Path, ports: Ports, sessions: int, warm: int = _WARM) -> Leaks:
    """Start a backend and a gateway, and send ``sessions`` through. Raises RuntimeError when one isn't as it should."""
    place = Place(directory, *write_certificate(directory), ports, sessions=1000, core=min(os.sched_getaffinity(0)))
    backend_ports = map(str, (ports.imap, ports.pop3, ports.smtp, ports.auth))
    backend = Server([str(programs / "backend"), HOST, *backend_ports], ports.imap, directory / "backend.log")
    with ExitStack() as stack:
        gateway = tlsgate(place)
        for server in (backend, gateway):
            server.start()
            stack.callback(server.stop)

        def left_of(count: int) -> Left:
            done = _sessions(programs / "client", ports, count)
            return _left(gateway, done)

        return Leaks(left_of(warm), left_of(sessions // 2), left_of(sessions // 2))


def _sessions(client: Path, ports: Ports, count: int) -> int:
    """So many, by all protocols at once; how many there were."""
    by_protocol = {"imap": ports.imaps, "pop3": ports.pop3s, "smtp": ports.submissions}

    def some(protocol: str, port: int) -> int:
        times = str(max(1, int(count * _SHARES[protocol])))
        with load(client, "login", protocol, port, "-f", "-n", str(_AT_ONCE), "-c", times) as clients:
            report = clients.run()
        if report.errors:
            raise RuntimeError(f"{protocol}: {report}")
        return report.units

    with ThreadPoolExecutor(len(by_protocol)) as pool:
        return sum(pool.map(some, by_protocol, by_protocol.values()))


def _left(gateway: Server, done: int) -> Left:
    """Once it doesn't become less."""
    assert gateway.process is not None
    deadline, before = time.monotonic() + _SECONDS, 0
    while before != (now := _descriptors(gateway.process.pid)) and time.monotonic() < deadline:
        before = now
        time.sleep(0.3)
    return Left(anonymous(gateway.family), now, done)


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
