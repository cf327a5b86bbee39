"""tlsgate demo: a gateway before the sample legacy backend, on loopback; prints commands that can be pasted."""

from __future__ import annotations

import argparse
import base64
import socket
import sys
import tempfile
from pathlib import Path

import trio
from msgspec import Struct

from tlsgate.config import load
from tlsgate.demo import DemoBackend, serve
from tlsgate.demo.certificate import write_certificate
from tlsgate.gateway import Gateway
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.prepared import prepare
from tlsgate.workers.process import raise_descriptor_limit

USER, PASSWORD = "demo", "sesame"
_HOST = "127.0.0.1"
# Name, protocol, TLS, pool, and the port that is tried before any free one.
_LISTENERS = (
    ("imaps", "imap", "implicit", "imap", 9993),
    ("imap", "imap", "starttls", "imap", 9143),
    ("pop3s", "pop3", "implicit", "pop3", 9995),
    ("pop3", "pop3", "starttls", "pop3", 9110),
    ("submissions", "submission", "implicit", "smtp", 9465),
    ("submission", "submission", "starttls", "smtp", 9587),
)
_ADMIN_PORT = 9090


def execute(_arguments: argparse.Namespace) -> int:
    """Run the demo until SIGINT or SIGTERM; gives the exit code."""
    with tempfile.TemporaryDirectory(prefix="tlsgate-demo-") as directory:
        trio.run(_run, Path(directory))
    return 0


async def _run(directory: Path) -> None:
    certificate, key = write_certificate(directory)
    async with trio.open_nursery() as nursery:
        backend: DemoBackend = await nursery.start(serve, {USER: PASSWORD})
        ports = {name: _free(port) for name, *_, port in _LISTENERS}
        admin = _free(_ADMIN_PORT)
        path = directory / "tlsgate.toml"
        path.write_text(_config(backend, ports, admin, certificate, key))
        prepared = prepare(load(path))
        log = EventLog(sys.stderr.buffer, prepared.settings.log.format, prepared.settings.log.level)
        gateway = Gateway(prepared, lambda: prepare(load(path)), log, Metrics(log), raise_descriptor_limit())
        try:
            gateway.bind()
            async with trio.open_nursery() as running:
                await running.start(gateway.run)
                refused = await _log_in_in_clear(ports["imap"])
                screen = _Screen(ports, admin, certificate, path, refused)
                print(screen.text(), flush=True)
        finally:
            log.close()
        nursery.cancel_scope.cancel()


def _free(port: int) -> int:
    """``port``, or any free one where somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _config(backend: DemoBackend, ports: dict[str, int], admin: int, certificate: Path, key: Path) -> str:
    listeners = "".join(
        f'[[listeners]]\nname = "{name}"\nprotocol = "{protocol}"\naddress = "{_HOST}:{ports[name]}"\n'
        f'tls = "{tls}"\npool = "{pool}"\n\n'
        for name, protocol, tls, pool, _ in _LISTENERS
    )
    legacy = {"imap": backend.imap_port, "pop3": backend.pop3_port, "smtp": backend.smtp_port}
    pools = "".join(
        f'[pools.{name}]\nbackends = [{{ address = "{_HOST}:{port}" }}]\n\n' for name, port in legacy.items()
    )
    return (
        f'[server]\nhostname = "localhost"\ndrain = "1s"\n\n'
        f'[tls]\ncertificate = "{certificate}"\nprivate_key = "{key}"\n\n'
        f"{listeners}{pools}"
        f'[admin]\naddress = "{_HOST}:{admin}"\n\n[log]\nformat = "console"\n'
    )


async def _log_in_in_clear(port: int) -> str:
    """Try it, as a client that forgot TLS does; gives the gateway's answer."""
    stream = await trio.open_tcp_stream(_HOST, port)
    async with stream:
        await stream.send_all(f"a LOGIN {USER} {PASSWORD}\r\nb LOGOUT\r\n".encode())
        said = b"".join([piece async for piece in stream])
    return next(line for line in said.decode().splitlines() if line.startswith("a "))


class _Screen(Struct, frozen=True):
    """What is printed."""

    ports: dict[str, int]
    admin: int
    certificate: Path
    config: Path
    refused: str

    def text(self) -> str:
        addresses = "\n".join(
            f"  {name:12} localhost:{self.ports[name]:<6} {'implicit TLS' if tls == 'implicit' else 'STARTTLS'}"
            for name, _, tls, _, _ in _LISTENERS
        )
        return f"""\
tlsgate demo: TLS before a sample mail server that speaks cleartext only. Stop it with Ctrl-C.

{addresses}
  metrics      http://{_HOST}:{self.admin}/metrics

  user {USER}, password {PASSWORD}, self-signed certificate {self.certificate}
  a config to start from: {self.config}

Send a message, read it back by IMAP and by POP3:
  {self._send()}
  {self._curl(f"'imaps://localhost:{self.ports['imaps']}/INBOX;MAILINDEX=4'")}
  {self._curl(f"pop3s://localhost:{self.ports['pop3s']}/4")}

STARTTLS and STLS:
  {self._s_client("imap", "imap", f"a LOGIN {USER} {PASSWORD}", "b LOGOUT")}
  {self._s_client("pop3", "pop3", f"USER {USER}", f"PASS {PASSWORD}", "STAT", "QUIT")}
  {self._s_client("smtp", "submission", "EHLO me", f"AUTH PLAIN {_plain()}", "QUIT")}

A login in clear is refused, and the log names whose password has to be changed:
  printf 'a LOGIN {USER} {PASSWORD}\\r\\nb LOGOUT\\r\\n' | curl -s telnet://localhost:{self.ports["imap"]}
  (just tried: {self.refused})

Below: the log, a line a session."""

    def _curl(self, rest: str) -> str:
        return f"curl --cacert {self.certificate} --user {USER}:{PASSWORD} {rest}"

    def _send(self) -> str:
        message = r"printf 'Subject: Hello\r\n\r\nSent through tlsgate.\r\n'"
        envelope = "--mail-from demo@example.org --mail-rcpt demo@example.org --upload-file -"
        return f"{message} | " + self._curl(f"{envelope} smtps://localhost:{self.ports['submissions']}")

    def _s_client(self, starttls: str, listener: str, *lines: str) -> str:
        typed = "".join(f"{line}\\n" for line in lines)
        trust = f"-CAfile {self.certificate} -verify_return_error"
        connect = f"-starttls {starttls} -connect localhost:{self.ports[listener]}"
        return f"printf '{typed}' | openssl s_client -quiet -crlf {trust} {connect}"


def _plain() -> str:
    return base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
