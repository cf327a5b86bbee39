"""Cases B1, C5 and D5 on the wire: octets without end where a line, a literal or a handshake is due.

What fails here lets one client fill the memory, or keep its neighbours waiting.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from tests.adversarial.attack import LEGACY
from tests.adversarial.case import IMAP, MX, POP3, SUBMISSION
from tests.gate import Client, gate, pool_of
from tests.legacy_server import LegacyServer
from tests.test_session import each_mode
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

CHUNK = b"x" * 65536
GIB = 1 << 30
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


async def taken(client: Client, first: bytes, chunk: bytes) -> int:
    """How many octets the gateway lets the client get rid of, of a gibibyte."""
    sent = 0
    with suppress(*GONE):
        await client.send(first)
        while sent < GIB:
            await client.send(chunk)
            sent += len(chunk)
    return sent


FLOODS = {
    "line": (b"", CHUNK),
    "line_behind_a_command": (b"a NOOP ", CHUNK),
    "nuls": (b"", bytes(65536)),
    "bare_crs": (b"", b"\r" * 65536),
    "spaces": (b"", b" " * 65536),
}
ROWS = {IMAP: "B1", POP3: "C5", SUBMISSION: "D5", MX: "D5"}


@pytest.mark.parametrize("over_tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize(
    ("protocol", "name"),
    [pytest.param(protocol, name, id=f"{row}_{protocol}_{name}") for protocol, row in ROWS.items() for name in FLOODS],
)
async def test_a_gibibyte(nursery: trio.Nursery, protocol: Protocol, name: str, over_tls: bool) -> None:
    """It ends within what sockets hold, and whoever else is there is answered meanwhile."""
    server: LegacyServer = await nursery.start(LegacyServer(LEGACY[protocol]).serve)
    first, chunk = FLOODS[name]
    async with gate(protocol, TlsMode.STARTTLS, pool_of(server.address)) as running:
        neighbour = await running.secure()
        client = await (running.secure() if over_tls else running.connect())
        with trio.fail_after(20):
            assert await taken(client, first, chunk) < 1 << 24
            assert (await neighbour.ask(b"a NOOP")) != b""
        session = running.trace.sessions[1]
        for each in running.clients:
            each.close()
        await running.quiet()
        assert session.end[0] in ("no_login", "ok", "lost")


@each_mode
async def test_B1_imap_literals_without_end(nursery: trio.Nursery, tls: TlsMode) -> None:
    """Many small ones are as one large one."""
    server: LegacyServer = await nursery.start(LegacyServer(LEGACY[IMAP]).serve)
    async with gate(IMAP, tls, pool_of(server.address)) as running:
        client = await running.secure()
        with trio.fail_after(20):
            assert await taken(client, b"a LOGIN", b" {4+}\r\nxxxx" * 6000) < 1 << 24
        await running.quiet()
        assert running.trace.sessions[0].end[0] in ("no_login", "lost")
