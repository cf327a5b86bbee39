"""The gateway under siege: its config and its process, with a disk that can be full and a clock that can be set.

Where root may mount, its state directory is a tmpfs of its own in a mount namespace of its own. Its wall clock is ahead
by what a file says (bench/load/clock.c).
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.mail.servers import Server
from bench.mail.store import HOST
from bench.siege.names import ZONE
from tlsgate.demo.certificate import write_certificate

TOKEN = "a-token-of-24-characters"  # noqa: S105 - of a gateway that lives for minutes, on loopback
BEACON = "198.51.100.0/24"  # what is banned to have the state directory written
_STATE_SIZE = 65536
_AHEAD = struct.Struct("@q")
_CONFIG = """
[server]
hostname = "localhost"
drain = "1s"
workers = {workers}
state_directory = "{state}"
[tls]
certificate = "{certificate}"
private_key = "{key}"
[limits]
connections = {most}
connections_per_network = {per_network}
connections_per_user = 5
rate_per_network = "1000000/1m"
backend_connections = {most}
greeting_timeout = "{greeting}s"
idle_timeout = "1h"
[screening]
reverse_dns = "off"
helo = "off"
[dns]
nameservers = ["{host}:{dns}"]
timeout = "2s"
[[dnsbl]]
zone = "{zone}"
protocols = ["submission"]
[state]
url = "valkey://{host}:{redis}"
[admin]
address = "{host}:{admin}"
token_file = "{token}"
"""
_LISTENER = """
[[listeners]]
name = "{name}"
protocol = "{name}"
address = "{host}:{port}"
tls = "implicit"
pool = "{name}"
{rest}
[pools.{name}]
backends = [{{ address = "{host}:{first}" }}, {{ address = "{host}:{second}" }}]
health_interval = "1s"
slow_start = "5s"
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where who listens. ``backends``: of each, by protocol."""

    listeners: dict[str, int]
    admin: int
    redis: int
    dns: int
    backends: tuple[dict[str, int], dict[str, int]]


class Gate:
    """Not started yet. ``clock``: clock.c, compiled. ``most``: connections; ``per_network``: of one source address."""

    def __init__(
        self, directory: Path, clock: Path, ports: Ports, workers: int, most: int, per_network: int, greeting: int = 30
    ) -> None:
        directory.mkdir()
        self.ports, self.workers, self.most, self.per_network = ports, workers, most, per_network
        self._directory, self._clock, self._greeting = directory, clock, greeting
        self._certificate, self._key = write_certificate(directory)
        self.state = directory / "state"
        self.state.mkdir(mode=0o700)
        (directory / "token").write_text(TOKEN)
        (directory / "token").chmod(0o600)
        self._ahead = directory / "ahead"
        self._ahead.write_bytes(_AHEAD.pack(0))
        self.has_disk = _may_mount()
        self.write_config()
        self.server = Server(self._command(), ports.listeners["imap"], directory / "log")

    def write_config(self, more: str = "") -> None:
        """The config. ``more``: lines at its end."""
        ports = self.ports
        text = _CONFIG.format(
            workers=self.workers, state=self.state, certificate=self._certificate, key=self._key, most=self.most,
            per_network=self.per_network, greeting=self._greeting, host=HOST, dns=ports.dns, zone=ZONE,
            redis=ports.redis, admin=ports.admin, token=self._directory / "token",
        )  # fmt: skip
        first, second = ports.backends
        for name, port in ports.listeners.items():
            rest = 'proxy_protocol_from = ["127.0.0.0/8"]' if name == "submission" else ""
            text += _LISTENER.format(name=name, host=HOST, port=port, rest=rest, first=first[name], second=second[name])
        (self._directory / "tlsgate.toml").write_text(text + more)

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "tlsgate", "run", "--config", str(self._directory / "tlsgate.toml")]
        command = ["env", f"LD_PRELOAD={self._clock}", f"CLOCK_FILE={self._ahead}", *command]
        if self.has_disk:
            mount = 'mount -t tmpfs -o "size=$1,mode=700" none "$2" && shift 2 && exec "$@"'
            command = ["unshare", "--mount", "sh", "-ec", mount, "-", str(_STATE_SIZE), str(self.state), *command]
        return command

    # -- what is done to it -------------------------------------------------------------------------

    def set_clock(self, ahead: int) -> None:
        """Its wall clock is so many seconds ahead of the system's, from now on."""
        with self._ahead.open("r+b") as file:
            file.write(_AHEAD.pack(ahead))

    @property
    def state_seen(self) -> Path:
        """The state directory, as the gateway sees it."""
        assert self.server.process is not None
        return Path(f"/proc/{self.server.process.pid}/root") / self.state.relative_to("/")

    def fill_disk(self) -> None:
        """Nothing more can be written to the state directory."""
        with (self.state_seen / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass

    def free_disk(self) -> None:
        (self.state_seen / "filler").unlink()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Status and text of the admin address's answer."""
        connection = http.client.HTTPConnection(HOST, self.ports.admin, timeout=30)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    # -- what is seen of it -------------------------------------------------------------------------

    def events(self, name: str, since: int = 0) -> Iterator[dict[str, Any]]:
        """What it has logged behind the ``since``-th octet."""
        with self.server.log.open("rb") as log:
            log.seek(since)
            for line in log:
                if line.startswith(b"{") and line.endswith(b"}\n") and f'"{name}"'.encode() in line:
                    event = json.loads(line)
                    if event.get("event") == name:
                        yield event

    @property
    def logged(self) -> int:
        """How many octets."""
        return self.server.log.stat().st_size

    def metrics(self) -> dict[str, float]:
        """Each sample by its name and labels."""
        lines = self.ask("GET", "/metrics")[1].splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


def total(metrics: dict[str, float], name: str, part: str = "") -> float:
    """The sum of a metric's samples whose labels have ``part`` in them."""
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name and part in key)


def _may_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    with_tmpfs = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(with_tmpfs, capture_output=True, check=False).returncode == 0
