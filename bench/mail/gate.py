"""tlsgate as an mx listener, in clear and by STARTTLS, with wide limits and nothing asked of the DNS."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.mail.servers import Server
from bench.mail.source import DOMAIN
from bench.mail.store import HOST
from tlsgate.demo.certificate import write_certificate

_CONFIG = """
[server]
hostname = "gate.{domain}"
drain = "0s"
workers = {workers}
[tls]
certificate = "{certificate}"
private_key = "{key}"
[[listeners]]
name = "mx"
protocol = "mx"
address = "{host}:{gate}"
tls = "starttls"
pool = "mx"
[pools.mx]
backends = [{{ address = "{host}:{backend}" }}]
login = "none"
health_interval = "500ms"
[limits]
connections_per_network = 1000
rate_per_network = "1000000/1s"
[relay]
domains = ["{domain}"]
[admin]
address = "{host}:{admin}"
[screening]
reverse_dns = "off"
helo = "off"
spf = "off"
{links}
"""
_NO_LINKS = 'surbl = "off"'
_LINKS = """surbl = "reject"
surbl_zones = ["uri.{domain}"]
[dns]
nameservers = ["{host}:{dns}"]
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where who listens."""

    gate: int
    admin: int
    backend: int


def tlsgate(directory: Path, ports: Ports, workers: int = 1, dns: int | None = None, core: int | None = None) -> Server:
    """The gateway, not started yet. ``dns``: the port of a name server that is asked about links."""
    directory.mkdir()
    certificate, key = write_certificate(directory)
    links = _NO_LINKS if dns is None else _LINKS.format(domain=DOMAIN, host=HOST, dns=dns)
    config = directory / "tlsgate.toml"
    config.write_text(
        _CONFIG.format(
            domain=DOMAIN,
            workers=workers,
            certificate=certificate,
            key=key,
            host=HOST,
            gate=ports.gate,
            backend=ports.backend,
            admin=ports.admin,
            links=links,
        )
    )
    command = [sys.executable, "-m", "tlsgate", "run", "--config", str(config)]
    return Server(command, ports.gate, directory / "log", core)


def store(directory: Path, ports: Ports, pause: float = 0.0, core: int | None = None) -> Server:
    """The backend, not started yet; what it keeps is in ``directory``. ``pause``: as the store's, in seconds."""
    directory.mkdir()
    command = [sys.executable, "-m", "bench.mail.store", str(ports.backend), str(directory), str(pause)]
    return Server(command, ports.backend, directory.with_suffix(".log"), core)


def workers(gateway: Server) -> list[int]:
    """The processes of a gateway with several that serve."""
    started = [json.loads(line) for line in gateway.log.read_text().splitlines() if '"worker_started"' in line]
    return sorted({event["pid"] for event in started} & set(gateway.family))
