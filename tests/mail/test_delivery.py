"""What a backend gets of a message that it can't have whole, or doesn't want: mail must not bounce for that."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest
import trio

from tests.gate import Client, Gate, gate, pool_of
from tests.legacy_server import LegacyServer, Script, Talk
from tlsgate.backends.pool import Pool
from tlsgate.config import LoginMode, Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

RCPT = b"RCPT TO:<bob@ours.test>"


async def backend(nursery: trio.Nursery, script: Script) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(script).serve)
    return server


def receiving(pool: Pool) -> AbstractAsyncContextManager[Gate]:
    return gate(Protocol.MX, TlsMode.STARTTLS, pool, domains=("ours.test",))


async def greeted(running: Gate) -> Client:
    client = await running.connect()
    assert (await client.line()).startswith(b"220 ")
    await client.ask(b"EHLO peer.example")
    return client


async def up_to(talk: Talk, commands: int, keyword: bytes = b"8BITMIME") -> list[bytes]:
    """Take as many commands behind EHLO, and grant them."""
    await talk.say(b"220 x\r\n")
    await talk.line()
    await talk.say(b"250-x\r\n250 " + keyword + b"\r\n")
    heard = []
    for _ in range(commands):
        heard.append(await talk.line())
        await talk.say(b"354 go\r\n" if heard[-1] == b"DATA" else b"250 ok\r\n")
    return heard


# -- refused before its end ------------------------------------------------------------------------------


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"552 5.3.4 too big for me\r\n", b"552 5.3.4 too big for me"),
        (b"451 4.3.1 disk full\r\n", b"451 4.3.1 disk full"),
        (b"421 4.3.2 going\r\n", b"451 4.3.2 going"),
        (b"250 2.0.0 kept\r\n", b"451 4.4.2 "),
        (b"552 5.3.4 one\r\n250 2.0.0 two\r\n", b"451 4.4.2 "),
        (b"nonsense\r\n", b"451 4.4.2 "),
    ],
)
async def test_a_backend_that_does_not_wait_for_the_end(
    nursery: trio.Nursery, said: bytes, heard: bytes, closes: bool
) -> None:
    """Whoever is told "later" of a message that is too large sends the whole of it again for days; a grant before the
    end is none."""
    spoken = trio.Event()

    async def script(talk: Talk) -> None:
        await up_to(talk, 3)
        await talk.until((b"first line",))  # its line end may begin the end of the message
        await talk.say(said)
        spoken.set()
        if not closes:
            await talk.until((b"\r\n.\r\n",))

    server = await backend(nursery, script)
    async with receiving(pool_of(server.address, login=LoginMode.NONE)) as running:
        client = await greeted(running)
        for command in (b"MAIL FROM:<ann@example.org>", RCPT, b"DATA"):
            await client.ask(command)
        await client.send(b"Subject: x\r\n\r\nfirst line\r\n")
        await spoken.wait()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await client.ask(b"more\r\n.")).startswith(heard)
        assert not bytes(server.talks[0].heard).endswith(b"\r\n.\r\n")
        assert (await client.ask(b"NOOP")).startswith(b"250 ")


# -- with fewer extensions than others of its pool -------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "recipient", "heard"),
    [
        (b" BODY=8BITMIME", RCPT, b"451 4.3.0 "),
        (b" SMTPUTF8", RCPT, b"451 4.3.0 "),
        (b" BODY=7BIT RET=HDRS ENVID=x SIZE=10", RCPT + b" NOTIFY=NEVER ORCPT=rfc822;x@y.test", b"250 "),
    ],
)
async def test_a_backend_that_has_less_than_was_offered(
    nursery: trio.Nursery, parameters: bytes, recipient: bytes, heard: bytes
) -> None:
    """A fail-over to a poorer server must not make honest mail bounce for good: what it can't have waits, what it
    needn't know is left out."""
    told: list[bytes] = []

    async def script(talk: Talk) -> None:
        told.extend(await up_to(talk, 2, b"HELP"))

    server = await backend(nursery, script)
    pool = pool_of(server.address, login=LoginMode.NONE)
    pool.backends[0].capabilities = ("8BITMIME", "DSN", "SMTPUTF8", "SIZE 1000")
    async with receiving(pool) as running:
        client = await greeted(running)
        assert (await client.ask(b"MAIL FROM:<ann@example.org>" + parameters)).startswith(b"250 ")
        assert (await client.ask(recipient)).startswith(heard)
        if heard == b"250 ":
            assert told == [b"MAIL FROM:<ann@example.org>", RCPT]
        assert (await client.ask(b"RSET")).startswith(b"250 ")
        assert (await client.ask(b"MAIL FROM:<ann@example.org>" + parameters)).startswith(b"250 ")
