"""Every attack on a whole gateway, as ``tlsgate run`` has it: what its log and its metrics say of them.

What fails here shows a password to whoever reads the log, lets a client forge a line of it, or choose a label.
"""

from __future__ import annotations

import io
import json
import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.adversarial import cases
from tests.adversarial.attack import LEGACY, holds
from tests.adversarial.attacker import Attacker, steps
from tests.adversarial.case import MX, WRONG, Case
from tests.gate import HOSTNAME, Client, authority
from tests.legacy_server import SECRET, LegacyServer
from tlsgate.config import LogFormat, LogLevel, Protocol, TlsMode, load
from tlsgate.gateway import Gateway
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.prepared import prepare

pytestmark = pytest.mark.timeout(60)

LONGEST = 2048
# What clients say in these cases, and no label may have.
CHOSEN = ("evil", "hunter2", "x-unknown", "sender.example", "other.example", "mozilla", "client.example")
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError, AssertionError)


def config(directory: Path, protocol: Protocol, server: LegacyServer) -> Path:
    """A file with a listener of each TLS mode, that trusts its clients: they must get as far as they can."""
    issued = authority().issue_cert(HOSTNAME)
    (directory / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(directory / "key.pem")
    listeners = "".join(
        f"""
[[listeners]]
name = "{tls}"
protocol = "{protocol}"
address = "127.0.0.1:0"
tls = "{tls}"
pool = "pool"
"""
        for tls in modes(protocol)
    )
    path = directory / "tlsgate.toml"
    path.write_text(f"""
[server]
hostname = "{HOSTNAME}"
drain = "10ms"
[tls]
certificate = "{directory}/chain.pem"
private_key = "{directory}/key.pem"
{listeners}
[pools.pool]
backends = [{{ address = "{server.address}" }}]
health_interval = "1h"
[limits]
rate_per_network = "1000000/1m"
[admission]
trust = ["127.0.0.0/8"]
[relay]
domains = ["example.org"]
[screening]
spf = "off"
reverse_dns = "off"
helo = "off"
surbl = "off"
[admin]
address = "127.0.0.1:0"
""")
    return path


def modes(protocol: Protocol) -> list[TlsMode]:
    return [TlsMode.STARTTLS] if protocol is MX else list(TlsMode)


def attacks(protocol: Protocol) -> list[tuple[TlsMode, Case]]:
    """The scripts of a protocol that need no backend of their own: each in one of its modes, in turn."""
    found = {case.name: case for _, case in cases.scripts() if case.protocol is protocol and case.backend is None}
    return [(case.modes[at % len(case.modes)], case) for at, case in enumerate(found.values())]


async def attack(case: Case, tls: TlsMode, address: str) -> None:
    """Go through a script, as far as it goes: what is answered is looked at elsewhere."""
    host, _, port = address.rpartition(":")
    client = Client(await trio.open_tcp_stream(host, int(port)), case.protocol)
    with suppress(*GONE), trio.move_on_after(0.5):
        attacker = await Attacker.at(client, case, tls)
        for kind, data in steps(case.script):
            await attacker.step(kind, data)
    client.close()


def labels(metrics: Metrics) -> set[str]:
    """Every value of a label that is there."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {value for family in families for sample in family.samples for value in sample.labels.values()}


@pytest.mark.parametrize("protocol", Protocol)
async def test_what_is_told_of_attacks(nursery: trio.Nursery, tmp_path: Path, protocol: Protocol) -> None:
    """One event a line, of a bounded length, in printable characters; no password in any form; labels of ours only."""
    server: LegacyServer = await nursery.start(LegacyServer(LEGACY[protocol]).serve)
    path, output = config(tmp_path, protocol, server), io.BytesIO()
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    metrics = Metrics(log)
    gateway = Gateway(prepare(load(path)), lambda: prepare(load(path)), log, metrics, 100_000)
    addresses = gateway.bind()
    async with trio.open_nursery() as running:
        await running.start(gateway.run)
        for tls, case in attacks(protocol):
            await attack(case, tls, addresses[tls.value])
        os.kill(os.getpid(), signal.SIGTERM)
    log.close()
    lines = output.getvalue().splitlines()
    events = Counter(json.loads(line)["event"] for line in lines)
    assert events["session"] == len(attacks(protocol))
    assert events["cleartext_auth_refused"]
    assert events["auth_failed"]
    assert all(len(line) < LONGEST and line.decode().isprintable() for line in lines)
    assert not [line for line in lines if holds(WRONG, line.decode()) or holds(SECRET, line.decode())]
    shown = " ".join(labels(metrics)).lower()
    assert not [word for word in CHOSEN if word in shown]
