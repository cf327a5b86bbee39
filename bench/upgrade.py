"""What clients see of upgrades: a gateway is replaced by another, again and again, under a steady load of connections.

    python -m bench.upgrade [upgrades] [connections a second]

``passed``: both have the same sockets, as from systemd; the new one serves, then the old one drains. ``bound``: each
binds for itself, so the old one must be gone first. Each client connects, waits for the greeting and logs out.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.activation import start
from tlsgate.demo.certificate import write_certificate

_PATIENCE = 10.0
_PROGRAM = ("-m", "tlsgate", "run", "--config")


def write_config(directory: Path, port: int) -> Path:
    certificate, key = write_certificate(directory)
    path = directory / "tlsgate.toml"
    path.write_text(f"""
[server]
hostname = "localhost"
drain = "5s"
[tls]
certificate = "{certificate}"
private_key = "{key}"
[[listeners]]
name = "imap"
protocol = "imap"
address = "127.0.0.1:{port}"
tls = "starttls"
pool = "imap"
[pools.imap]
backends = [{{ address = "127.0.0.1:1" }}]
[limits]
rate_per_network = "1000000/1m"
connections_per_network = 10000
[admin]
address = "127.0.0.1:0"
""")
    return path


class Gateway:
    """One process that serves; ``sockets``: that it is given."""

    def __init__(self, config: Path, number: int, sockets: Sequence[socket.socket]) -> None:
        self._log = config.with_name(f"log{number}")
        with self._log.open("wb") as log:
            self._process = start((*_PROGRAM, str(config)), sockets, "imap" if sockets else "", log)

    async def started(self) -> None:
        while b'"started"' not in self._log.read_bytes():
            if self._process.poll() is not None:
                raise SystemExit(self._log.read_text())
            await trio.sleep(0.01)

    async def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            await trio.to_thread.run_sync(self._process.wait, _PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise SystemExit("a gateway doesn't stop") from None


async def client(port: int, seen: Counter[str], slowest: list[float]) -> None:
    began = time.monotonic()
    try:
        with trio.fail_after(_PATIENCE):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                greeted = (await stream.receive_some(1000)).startswith(b"* OK")
                slowest[0] = max(slowest[0], time.monotonic() - began)
                await stream.send_all(b"a LOGOUT\r\n")
                while await stream.receive_some(1000):
                    pass
        seen["served" if greeted else "no greeting"] += 1
    except trio.TooSlowError:
        seen["no answer"] += 1
    except trio.BrokenResourceError:
        seen["broken"] += 1
    except OSError:  # trio's of a connection that wasn't made
        seen["refused"] += 1


async def measure(name: str, upgrades: int, rate: int) -> None:
    seen, slowest = Counter[str](), [0.0]
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0), backlog=4096) as bound:
        port = bound.getsockname()[1]
        config, sockets = write_config(Path(directory), port), [bound] if name == "passed" else []
        if not sockets:
            bound.close()
        gateway = Gateway(config, 0, sockets)
        await gateway.started()
        async with trio.open_nursery() as clients:
            with trio.CancelScope() as loading:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(load, clients, port, rate, seen, slowest)
                    for number in range(1, upgrades + 1):
                        gateway = await upgrade(gateway, config, number, sockets)
                    loading.cancel()
        await gateway.stop()
    results = ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))
    print(f"{name:8} {upgrades} upgrades: {results}; the slowest greeting {slowest[0] * 1000:.0f} ms")


async def upgrade(old: Gateway, config: Path, number: int, sockets: Sequence[socket.socket]) -> Gateway:
    if not sockets:
        await old.stop()
    new = Gateway(config, number, sockets)
    await new.started()
    if sockets:
        await old.stop()
    return new


async def load(clients: trio.Nursery, port: int, rate: int, seen: Counter[str], slowest: list[float]) -> None:
    at = trio.current_time()
    while True:
        clients.start_soon(client, port, seen, slowest)
        at += 1 / rate
        await trio.sleep_until(at)


def main() -> None:
    upgrades, rate = (int(sys.argv[1]) if len(sys.argv) > 1 else 10), (int(sys.argv[2]) if len(sys.argv) > 2 else 200)
    for name in ("passed", "bound"):
        trio.run(measure, name, upgrades, rate)


if __name__ == "__main__":
    main()
