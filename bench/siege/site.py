"""All who take part: the gateway, two backends, Valkey, a DNS server, the clients, and those who want nothing good."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.mail.servers import Server
from bench.mail.store import HOST
from bench.peers.memory import pss
from bench.siege.gate import Gate, Ports
from bench.siege.life import Plan, Status
from bench.siege.talker import Talker

PLACE = "tlsgate:place"
# Those of the gateway's incarnation: what an earlier one has said counts no more (state/shared.lua).
_PLACES = b"""
local places = {}
for _, key in ipairs(redis.call('KEYS', 'tlsgate:place:*')) do
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local replica, number = string.match(field, '^(%w+)%.(%d+)$')
    if redis.call('GET', 'tlsgate:replica:' .. replica) == number then
      places[#places + 1] = key
    end
  end
end
return places
"""
SHARES = {"imap": 86, "pop3": 6, "submission": 8}


@dataclass(frozen=True, slots=True)
class Size:
    """``sessions``: that are logged in. ``flood``: connections a second.

    In seconds: ``beat``, how often each session is looked at; ``during`` and ``after``, how long a fault lasts and what
    follows; ``greeting``, how long silent clients may stay.
    """

    sessions: int
    workers: int
    beat: float = 10.0
    during: float = 12.0
    after: float = 14.0
    greeting: int = 30
    flood: int = 200

    @property
    def stalled(self) -> int:
        return self.sessions // 20

    @property
    def per_network(self) -> int:
        """What is let in of a network: the clients have 40 of them, and some come again before they are gone."""
        return self.sessions // 40 * 3 // 2 + 10

    @property
    def most(self) -> int:
        """Connections: the clients, the stalled, two networks of floods, and some to spare."""
        return self.sessions + self.stalled + 2 * self.per_network + self.sessions // 50 + 20


@dataclass(frozen=True, slots=True)
class Measure:
    """``memory``: of all the gateway's processes, in KiB of PSS. ``descriptors``: of all."""

    memory: int
    descriptors: int


@dataclass(slots=True)
class Site:
    """All of it, running. ``stored``: where each backend notes the messages that it has taken.

    ``highest``: of what was measured since it was set to None.
    """

    size: Size
    gate: Gate
    backends: tuple[Server, Server]
    redis: Server
    dns: subprocess.Popen[str]
    stored: tuple[Path, Path]
    nuisance: Talker
    highest: Measure | None = None

    @contextmanager
    def crowd(self, sessions: int) -> Iterator[Crowd]:
        """Clients that begin to log in."""
        plan = Plan(sessions, self.gate.ports.listeners, SHARES, beat=self.size.beat)
        talker = Talker("bench.siege.crowd", json.dumps(asdict(plan)))
        try:
            yield Crowd(sessions, talker, self)
        finally:
            talker.kill()

    def measure(self) -> Measure:
        """What the gateway takes now."""
        family = self.gate.server.family
        now = Measure(pss(family), sum(descriptors(pid) for pid in family))
        old = self.highest or now
        self.highest = Measure(max(old.memory, now.memory), max(old.descriptors, now.descriptors))
        return now

    def places(self) -> dict[str, float]:
        """Places that are taken by what Valkey knows, as metrics."""
        words = [b"EVAL", _PLACES, b"0"]
        asked = b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        with socket.create_connection((HOST, self.gate.ports.redis), 10) as asking:
            asking.sendall(asked + b"QUIT\r\n")
            answer = asking.makefile("rb").read().decode()
        return {f"{PLACE}{{{key}}}": 1.0 for key in answer.splitlines() if key.startswith(PLACE)}

    def wait(self, seconds: float) -> None:
        """Let it go on, and measure meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.measure()
            time.sleep(min(left, 1.0))

    @property
    def workers(self) -> list[int]:
        """The processes that serve sessions: all but the two that accept and fork, or the only one."""
        first, *others = self.gate.server.family
        return [first] if self.size.workers == 1 else others[1:]


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many clients."""

    sessions: int
    talker: Talker
    site: Site

    def status(self) -> Status:
        """How they are, and were since the last time."""
        return Status(**self.talker.ask("status"))

    def look(self) -> Status:
        """How they are."""
        return Status(**self.talker.ask("look"))

    def wait_for_all(self, seconds: float) -> Status:
        """Until every session is logged in, or it takes too long."""
        until = time.monotonic() + seconds
        while (status := self.look()).away and time.monotonic() < until:
            self.site.wait(0.2)
        return status

    def leave(self) -> Status:
        """All go."""
        return Status(**self.talker.ask("quit"))


@contextmanager
def site(directory: Path, programs: Path, size: Size, ports: Ports) -> Iterator[Site]:
    """Start all; the clients begin to log in. ``programs``: where bench/load is compiled to."""
    stored = (directory / "stored-0", directory / "stored-1")
    with ExitStack() as stack:

        def start(command: list[str], port: int, name: str) -> Server:
            server = Server(command, port, directory / name)
            server.start()
            stack.callback(server.kill)
            return server

        def backend(at: int) -> Server:
            theirs = ports.backends[at]
            numbers = [theirs["imap"], theirs["pop3"], theirs["submission"], theirs["http"]]
            command = [str(programs / "backend"), HOST, *map(str, numbers), str(stored[at])]
            return start(command, theirs["imap"], f"backend-{at}")

        backends = (backend(0), backend(1))
        redis = start(_redis(ports.redis, directory), ports.redis, "redis")
        dns = subprocess.Popen(
            [sys.executable, "-m", "bench.siege.names", str(ports.dns)], stdout=subprocess.PIPE, text=True
        )
        stack.callback(_end, dns)
        assert dns.stdout is not None
        dns.stdout.readline()
        gate = Gate(
            directory / "gate", programs / "clock.so", ports, size.workers, size.most, size.per_network, size.greeting
        )
        gate.server.start()
        stack.callback(gate.server.stop)
        nuisance = Talker("bench.siege.nuisance", str(ports.listeners["imap"]))
        stack.callback(nuisance.kill)
        yield Site(size, gate, backends, redis, dns, stored, nuisance)


def descriptors(pid: int) -> int:
    """How many a process has; none when it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def _redis(port: int, directory: Path) -> list[str]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise SystemExit("neither valkey-server nor redis-server is installed")
    return [program, "--port", str(port), "--bind", HOST, "--dir", str(directory), "--save", "", "--appendonly", "no"]


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()
