"""A whole gateway in this process, with scripted backends, clients of three protocols, and its admin address."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.gate import HOSTNAME, Client, authority
from tests.legacy_server import LegacyServer, Script, Smtp, imap, pop3
from tests.ops.admin_address import Answer, asked
from tests.test_gateway import Log, reading
from tlsgate.config import Protocol
from tlsgate.gateway import Gateway
from tlsgate.ops.metrics import Metrics

PROTOCOLS = {"imaps": Protocol.IMAP, "pop3s": Protocol.POP3, "submissions": Protocol.SUBMISSION}


@dataclass
class LiveGateway:
    """``config``: its file. ``backends``: by protocol."""

    config: Path
    backends: dict[Protocol, LegacyServer]
    addresses: dict[str, str]
    log: Log
    clients: list[Client] = field(default_factory=list)

    @property
    def admin(self) -> Path:
        return self.config.with_name("admin")

    async def ask(self, method: str, path: str, token: str = "") -> Answer:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await asked(socket.AF_UNIX, str(self.admin), method, path, headers)

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    async def sessions(self, query: str = "") -> list[dict[str, Any]]:
        """Those of one page."""
        listed: list[dict[str, Any]] = (await self.get(f"/api/sessions{query}"))["sessions"]
        return listed

    async def connect(self, listener: str = "imaps", source: str = "127.0.0.1") -> Client:
        """A client that has done the handshake and read the greeting."""
        host, _, port = self.addresses[listener].rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port), local_address=source)
        self.clients.append(Client(stream, PROTOCOLS[listener]))
        await self.clients[-1].start_tls()
        await self.clients[-1].line()
        return self.clients[-1]

    async def log_in(self, listener: str = "imaps", source: str = "127.0.0.1") -> Client:
        client = await self.connect(listener, source)
        said = await client.log_in()
        assert said.startswith(client.speech.granted), said
        return client

    async def listed(self, count: int, query: str = "") -> list[dict[str, Any]]:
        """The sessions, once there are so many: a client may know of its login before anybody else does."""
        with trio.fail_after(10):
            while True:
                found = await self.sessions(query)
                if len(found) == count:
                    return found
                await trio.sleep(0.01)


@asynccontextmanager
async def live_gateway(directory: Path, more: str = "", pool: str = "") -> AsyncIterator[LiveGateway]:
    """Run one until the block ends, then SIGTERM it.

    ``more``: lines of [admin] and sections behind it. ``pool``: lines of each pool.
    """
    async with trio.open_nursery() as nursery:
        backends: dict[Protocol, LegacyServer] = {}
        scripts: dict[Protocol, Script] = {Protocol.IMAP: imap, Protocol.POP3: pop3, Protocol.SUBMISSION: Smtp()}
        for protocol, script in scripts.items():
            backends[protocol] = await nursery.start(LegacyServer(script).serve)
        log = Log()
        path = _config(directory, backends, more, pool)
        gateway = Gateway(reading(path), lambda: reading(path), log, Metrics(log), 100_000)
        live = LiveGateway(path, backends, gateway.bind(), log)
        try:
            async with trio.open_nursery() as running:
                await running.start(gateway.run)
                with trio.fail_after(30):
                    yield live
                for client in live.clients:
                    client.close()
                if not log.all("draining"):
                    os.kill(os.getpid(), signal.SIGTERM)
        finally:
            log.close()
        nursery.cancel_scope.cancel()


def _config(directory: Path, backends: dict[Protocol, LegacyServer], more: str, pool: str) -> Path:
    issued = authority().issue_cert(HOSTNAME)
    chain, key, path = directory / "chain.pem", directory / "key.pem", directory / "tlsgate.toml"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    parts = [
        f"""
[server]
hostname = "{HOSTNAME}"
drain = "5s"
[tls]
certificate = "{chain}"
private_key = "{key}"
[admission]
trust = ["127.0.0.0/8"]
[admin]
address = "unix:{directory / "admin"}"
{more}"""
    ]
    for name, protocol in PROTOCOLS.items():
        parts.append(f"""
[[listeners]]
name = "{name}"
protocol = "{protocol}"
address = "127.0.0.1:0"
tls = "implicit"
pool = "{protocol}"
[pools.{protocol}]
backends = [{{ address = "{backends[protocol].address}" }}]
health_interval = "1h"
{pool}
""")
    path.write_text("".join(parts))
    return path
