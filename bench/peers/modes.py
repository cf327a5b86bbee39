"""How each thing is measured: one function a mode, a running proxy in, figures out.

CPU is that of the proxy's whole process tree, memory the tree's PSS.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.mail.servers import Server
from bench.peers.figures import Values
from bench.peers.load import Load, load
from bench.peers.memory import pss
from bench.peers.subject import HOST, Ports

SETTLE = 0.3  # seconds for what a proxy still has to do when clients have what they wanted


@dataclass(frozen=True, slots=True)
class Run:
    """``scale``: of how much is done. ``direct_us``: a round trip to the backend. ``refuses``: as a Subject's.

    ``workers``: makes a proxy with so many.
    """

    server: Server
    ports: Ports
    client: Path
    scale: float
    direct_us: float
    refuses: bool
    workers: Callable[[int], Server] | None = None

    def some(self, count: int) -> str:
        """A count, scaled; not so few that nothing could be told."""
        return str(max(int(count * self.scale), 20))

    def load(self, mode: str, protocol: str, *options: str) -> AbstractContextManager[Load]:
        """Clients of this proxy."""
        ports = {"imap": self.ports.imaps, "pop3": self.ports.pop3s, "smtp": self.ports.submissions}
        return load(self.client, mode, protocol, ports[protocol], *options)


Mode = Callable[[Run], Values]


class _Cpu:
    """CPU seconds from its making on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        time.sleep(SETTLE)
        self._before = server.cpu

    def taken(self) -> float:
        """The least that can be told is one tick."""
        time.sleep(SETTLE)
        return max(self._server.cpu - self._before, 0.01)


def logins(run: Run, protocol: str) -> Values:
    """32 clients at once: full handshakes, then resumed ones."""
    found = {}
    for key, options in ((f"{protocol}_us", []), (f"{protocol}_resumed_us", ["-r"])):
        with run.load("login", protocol, "-c", run.some(3000), *options) as clients:
            cpu = _Cpu(run.server)
            report = clients.run()
            if options and report.resumed < report.units * 0.9:
                continue
            found[key] = cpu.taken() / report.units * 1e6
    return found


def latency(run: Run) -> Values:
    """One client, one login after the other: from the connect to the answer to LOGIN."""
    with run.load("login", "imap", "-n", "1", "-c", run.some(300)) as client:
        report = client.run()
    return {"login_p50_ms": report.p50_us / 1e3, "login_p99_ms": report.p99_us / 1e3}


def bulk(run: Run) -> Values:
    """Four sessions, messages of 256 MiB; at small scales smaller ones."""
    found = {}
    for mode in ("down", "up"):
        with run.load(mode, "imap", "-k", "4", "-c", "2", "-s", str(max(int(256 * run.scale), 16))) as clients:
            cpu = _Cpu(run.server)
            report = clients.run()
            found[f"{mode}_s_gb"] = cpu.taken() / report.bytes * 1e9
    return found


def messages(run: Run) -> Values:
    """Messages of 4 KiB in 20 sessions of submission."""
    with run.load("mail", "smtp", "-k", "20", "-c", run.some(500)) as clients:
        cpu = _Cpu(run.server)
        report = clients.run()
        return {"messages_cpu_s": report.units / cpu.taken()}


def idle(run: Run, sessions: int) -> Values:
    """Sessions that are logged in, on a process that had few before: no heap that has grown hides what they cost."""
    with run.load("login", "imap", "-n", "4", "-c", "20") as clients:
        clients.run()
    time.sleep(SETTLE)
    before = pss(run.server.family)
    with run.load("hold", "imap", "-k", str(sessions)) as clients:
        time.sleep(SETTLE + sessions / 5000)
        after = pss(run.server.family)
        held = clients.run().sessions
    return {f"idle_{sessions}_kib": (after - before) / held} if held == sessions else {}


def round_trip(run: Run) -> Values:
    """One session's NOOPs, one after the other, less what they take without a proxy and TLS."""
    with run.load("noop", "imap", "-c", run.some(5000)) as client:
        return {"added_us": client.run().p50_us - run.direct_us}


def noops(run: Run) -> Values:
    """1,000 sessions, each with a NOOP every second."""
    seconds = max(int(10 * run.scale), 2)
    with run.load("each-second", "imap", "-k", "1000", "-t", str(seconds)) as clients:
        cpu = _Cpu(run.server)
        clients.run()
        return {"noops_percent": cpu.taken() / seconds * 100}


def refused(run: Run) -> Values:
    """Connections from a network that is blocked, at most 32 at once."""
    if not run.refuses:
        return {}
    with run.load("refused", "imap", "-c", run.some(20000)) as clients:
        cpu = _Cpu(run.server)
        report = clients.run()
        return {"refused_cpu_s": report.units / cpu.taken()}


def start(run: Run) -> Values:
    """From the command to the end of the first handshake, the second time, so that modules are compiled; and memory."""
    run.server.stop()
    began = time.monotonic()
    run.server.start()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((HOST, run.ports.imaps), 10) as plain, context.wrap_socket(plain):
        taken = time.monotonic() - began
    time.sleep(SETTLE)
    return {"start_ms": taken * 1e3, "base_kib": float(pss(run.server.family))}


def worker(run: Run) -> Values:
    """Of four workers, the last two, halved."""
    if run.workers is None:
        return {}
    run.server.stop()
    two, four = (_at_rest(run.workers(count), count) for count in (2, 4))
    run.server.start()
    return {"worker_kib": (four - two) / 2}


def _at_rest(server: Server, workers: int) -> int:
    """KiB. Raises RuntimeError when there are fewer processes than workers."""
    server.start()
    try:
        time.sleep(SETTLE * 10)
        if len(server.family) < workers:
            raise RuntimeError("not all workers are there")
        return pss(server.family)
    finally:
        server.stop()


def direct_round_trip(client: Path, ports: Ports) -> float:
    """Microseconds, the median, at the backend itself."""
    with load(client, "noop", "imap", ports.imap, "-c", "2000", "-p") as clients:
        return clients.run().p50_us


# These share one process; each of IDLE has its own.
MODES: dict[str, Mode] = {
    "start": start,
    "worker": worker,
    "imap": partial(logins, protocol="imap"),
    "pop3": partial(logins, protocol="pop3"),
    "smtp": partial(logins, protocol="smtp"),
    "latency": latency,
    "bulk": bulk,
    "messages": messages,
    "round-trip": round_trip,
    "noops": noops,
    "refused": refused,
}
IDLE: dict[str, int] = {f"idle-{count}": count for count in (1000, 5000, 20000)}
