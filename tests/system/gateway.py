"""tlsgate itself, run as its users run it: a process, a configuration file, signals, standard error."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.system.certificates import Certificate
from tests.system.peers import HOST, accepts, free_port, stop, wait_until

Event = dict[str, Any]

# Everything comes from one address here, so nothing may be counted against it.
_LIMITS = """
connections_per_network = 1000
connections_per_user = 1000
rate_per_network = "100000/1m"
messages_per_user = "100000/1h"
recipients_per_user = "100000/1h"
auth_attempts = 5
[bans]
failures = 1000
user_failures = 900
[admission]
trust = ["127.0.0.0/8"]
"""


@dataclass(frozen=True, slots=True)
class Listener:
    """One ``[[listeners]]``. ``tls``: "implicit" or "starttls". ``rest``: its other lines, TOML."""

    name: str
    protocol: str
    tls: str
    pool: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """One ``[pools.NAME]`` with one backend on loopback.

    ``options``: the rest of the backend's inline table, ``rest``: the pool's other lines, both TOML.
    """

    name: str
    port: int
    options: str = 'tls = "none"'
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its ports by listener, what it logs, its certificate's CA, its config, its process."""

    ports: dict[str, int]
    admin: int
    log: Path
    ca: Path
    config: Path
    process: subprocess.Popen[bytes] | None = None

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def events(self, name: str) -> list[Event]:
        """Every log event called ``name`` so far."""
        with self.log.open(encoding="utf-8") as lines:
            return [event for event in map(_parse, lines) if event.get("event") == name]

    def event(self, name: str, condition: Callable[[Event], bool]) -> Event:
        """Wait for an event called ``name`` that meets ``condition``."""
        found: list[Event] = []

        def look() -> bool:
            found[:] = [event for event in self.events(name) if condition(event)]
            return bool(found)

        wait_until(look, f"event {name!r} in the log", 10)
        return found[0]

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of the admin address's answer to ``GET path``."""
        connection = http.client.HTTPConnection(HOST, self.admin, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(f'{key}="{text}"' in sample for key, text in labels.items()):
                total += float(value)
        return total


def _parse(line: str) -> Event:
    try:
        event = json.loads(line)
    except ValueError as fault:
        raise AssertionError(f"not a JSON log line: {line!r}") from fault
    assert isinstance(event, dict), line
    return event


@contextmanager
def gateway(
    directory: Path,
    certificate: Certificate,
    listeners: list[Listener],
    pools: list[Pool],
    *,
    limits: str = "",
    server: str = 'drain = "2s"',
    admission: str = _LIMITS,
    tls: str = "",
    measured: bool = True,
    program: tuple[str, ...] = ("-m", "tlsgate"),
) -> Iterator[Gateway]:
    """Run ``tlsgate run`` until the block ends, then SIGTERM it; it must stop with status 0 and no traceback.

    ``limits``, ``server``, ``tls``: more lines of these sections. ``admission``: the others of ``[limits]``,
    with sections behind them, which let everybody in unless they are given. ``measured``: False for a process that may
    not write where coverage wants it to. ``program``: what Python runs.
    """
    directory.mkdir()
    ports = {listener.name: free_port() for listener in listeners}
    config = directory / "tlsgate.toml"
    running = Gateway(ports, free_port(), directory / "stderr.log", certificate.ca, config)
    config.write_text(_config(running, certificate, listeners, pools, limits + admission, server, tls))
    with running.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *program, "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE_")},
        )
    try:
        wait_until(
            lambda: process.poll() is not None or (bool(running.events("started")) and accepts(running.admin)),
            "tlsgate has started",
        )
        assert process.poll() is None, running.log.read_text()
        yield replace(running, process=process)
    finally:
        status = stop(process)
    logged = running.log.read_text()
    assert status == 0, logged[-4000:]
    assert "Traceback" not in logged, logged[-4000:]


def _config(
    running: Gateway,
    certificate: Certificate,
    listeners: list[Listener],
    pools: list[Pool],
    limits: str,
    server: str,
    tls: str,
) -> str:
    parts = [
        f"""
[server]
hostname = "gate.example.test"
{server}
[tls]
certificate = "{certificate.chain}"
private_key = "{certificate.key}"
{tls}
[admin]
address = "{HOST}:{running.admin}"
[limits]
{limits}"""
    ]
    parts += [
        f"""
[[listeners]]
name = "{listener.name}"
protocol = "{listener.protocol}"
address = "{HOST}:{running.ports[listener.name]}"
tls = "{listener.tls}"
pool = "{listener.pool}"
{listener.rest}
"""
        for listener in listeners
    ]
    parts += [
        f"""
[pools.{pool.name}]
backends = [{{ address = "{HOST}:{pool.port}", {pool.options} }}]
{pool.rest}
"""
        for pool in pools
    ]
    return "".join(parts)
