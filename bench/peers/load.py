"""The clients: bench/load/client.c, started, told to begin, and heard."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.mail.store import HOST


@dataclass(frozen=True, slots=True)
class Report:
    """What the clients say. ``units``: logins, NOOPs, messages … that were done; seconds, octets and microseconds.

    ``resumed``: how many handshakes were; ``cpu``: what the clients took themselves.
    """

    units: int
    errors: int
    sessions: int
    resumed: int
    wall: float
    bytes: int
    cpu: float
    p50_us: float
    p99_us: float


class Load:
    """Clients that are ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self) -> Report:
        """Let them do what they are for. Raises RuntimeError when they say nothing, or that nothing was done."""
        said, _ = self._process.communicate("go\n")
        if self._process.returncode or not said.startswith("{"):
            raise RuntimeError(f"the clients ended with {self._process.returncode}")
        report = Report(**json.loads(said))
        if not report.units:
            raise RuntimeError(f"nothing was done: {report}")
        return report


@contextmanager
def load(client: Path, mode: str, protocol: str, port: int, *options: str) -> Iterator[Load]:
    """Clients as client.c describes them, warmed up or logged in; at the end they are gone.

    Raises RuntimeError when they cannot.
    """
    command = [str(client), mode, protocol, HOST, str(port), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "READY\n":
                raise RuntimeError(f"no clients: {mode} {protocol}")
            yield Load(process)
        finally:
            process.kill()
