"""Server processes that are started, killed and started again, and what CPU they have taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.mail.store import HOST

_SECONDS = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
_SCHEDULED = 2  # of the kernel's clocks of a process: CPUCLOCK_SCHED


@dataclass(slots=True)
class Server:
    """A command that listens on ``port``.

    ``log``: its standard error. ``core``: where it runs, None: anywhere. ``leave``: a command that ends it, for those
    that don't end by SIGTERM.
    """

    command: list[str]
    port: int
    log: Path
    core: int | None = None
    leave: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Gives back when it accepts. Raises RuntimeError when it doesn't."""
        if _accepts(self.port):
            raise RuntimeError(f"another server listens on port {self.port}")
        pinned = [] if self.core is None else ["taskset", "--cpu-list", str(self.core)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*pinned, *self.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            if _accepts(self.port):
                return
            time.sleep(0.002)
        self.kill()
        raise RuntimeError(f"{self.command[0]} does not listen on port {self.port}: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what doesn't end by that."""
        if self.process is not None:
            if self.leave:
                subprocess.run(self.leave, check=True, capture_output=True)
            else:
                self.process.terminate()
            try:
                self.process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    @property
    def cpu(self) -> float:
        """Seconds that it and those below it have taken, those that have ended included."""
        return sum(_taken(pid) for pid in self.family)

    @property
    def ran(self) -> float:
        """Seconds of CPU, to the nanosecond, of those that live, their ended threads included."""
        return sum(time.clock_gettime(~pid << 3 | _SCHEDULED) for pid in self.family)

    @property
    def family(self) -> list[int]:
        """Its process and those below it."""
        assert self.process is not None
        family = [self.process.pid]
        for pid in family:
            family.extend(_children(pid))
        return family


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 5).close()
    except OSError:
        return False
    return True


def _taken(pid: int) -> float:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:15])) / _TICKS
    return 0.0


def _children(pid: int) -> Iterable[int]:
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (task / "children").read_text().split())
