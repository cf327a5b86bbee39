"""An IMAP server that lets everybody in, and `tlsgate run` in front of such: what scripts about logins start."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.mail.servers import Server
from tlsgate.demo.certificate import write_certificate

_BACKEND = """
import socket, sys, threading
def serve(client):
    with client, client.makefile("rb") as lines:
        client.sendall(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\\r\\n")
        for line in lines:
            client.sendall(line.split(b" ", 1)[0] + b" OK done\\r\\n")
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
while True:
    client, _ = listening.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(client,), daemon=True).start()
"""
_TLS = """
[tls]
certificate = "{certificate}"
private_key = "{key}"
"""


def backend(directory: Path, port: int, core: int | None = None) -> Server:
    """Not started yet, as the gateway."""
    return Server([sys.executable, "-c", _BACKEND, str(port)], port, directory / f"backend-{port}", core)


def gateway(directory: Path, config: str, port: int, core: int | None = None) -> tuple[Server, Path]:
    """The gateway, and the certificate of its own that it serves. ``config``: all but [tls]. ``port``: a listener's."""
    certificate, key = write_certificate(directory)
    path = directory / "tlsgate.toml"
    path.write_text(_TLS.format(certificate=certificate, key=key) + config)
    return Server(
        [sys.executable, "-m", "tlsgate", "run", "--config", str(path)], port, directory / "log", core
    ), certificate


@contextmanager
def started(*servers: Server) -> Iterator[None]:
    """All of them, in that order, and stopped in the other."""
    try:
        for each in servers:
            each.start()
        yield
    finally:
        for each in reversed(servers):
            each.stop()
