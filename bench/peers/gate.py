"""tlsgate itself: every limit counted but too high to be met, nothing asked of the DNS."""

from __future__ import annotations

import sys

from bench.peers.subject import HOST, REFUSED, Place, Server

_CONFIG = """
[server]
hostname = "localhost"
drain = "0s"
workers = {workers}
[tls]
certificate = "{certificate}"
private_key = "{key}"
minimum_version = "1.3"
[limits]
connections = {most}
connections_per_network = {most}
connections_per_user = {most}
rate_per_network = "1000000/1s"
messages_per_user = "1000000/1s"
recipients_per_user = "1000000/1s"
backend_connections = {most}
idle_timeout = "1h"
[admission]
block = ["{refused}"]
[screening]
reverse_dns = "off"
helo = "off"
[admin]
address = "{host}:{admin}"
"""
_SERVICE = """
[[listeners]]
name = "{protocol}"
protocol = "{protocol}"
address = "{host}:{port}"
tls = "implicit"
pool = "{protocol}"
[pools.{protocol}]
backends = [{{ address = "{host}:{backend}" }}]
"""


def tlsgate(place: Place, workers: int = 1) -> Server:
    """By the interpreter that we run under."""
    ports = place.ports
    text = _CONFIG.format(
        workers=workers,
        certificate=place.certificate,
        key=place.key,
        most=place.sessions,
        refused=REFUSED,
        host=HOST,
        admin=ports.admin,
    )
    services = {
        "imap": (ports.imaps, ports.imap),
        "pop3": (ports.pop3s, ports.pop3),
        "submission": (ports.submissions, ports.smtp),
    }
    for protocol, (port, backend) in services.items():
        text += _SERVICE.format(protocol=protocol, host=HOST, port=port, backend=backend)
    config = place.config(f"tlsgate-{workers}.toml", text)
    return place.server([sys.executable, "-m", "tlsgate", "run", "--config", str(config)])
