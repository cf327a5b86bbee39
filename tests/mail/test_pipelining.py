"""Commands in groups (RFC 2920), from the client and to the backend: fewer round trips, and each reply its command's.

A reply that is matched to another command's is a false 250 or a lost recipient.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest
import trio

from tests.gate import Client, Gate, gate, pool_of
from tests.legacy_server import LegacyServer, Script, Talk
from tlsgate.config import LoginMode, Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

GROUP = (
    b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@ours.test>\r\nRCPT TO:<eve@other.test>\r\n"
    b"RCPT TO:<nobody@ours.test>\r\nRCPT TO:<carol@ours.test>\r\nDATA\r\n"
)


async def greeted(running: Gate) -> Client:
    client = await running.connect()
    assert (await client.line()).startswith(b"220 ")
    await client.ask(b"EHLO peer.example")
    return client


async def begun(talk: Talk, keyword: bytes = b"PIPELINING") -> None:
    await talk.say(b"220 x\r\n")
    await talk.line()
    await talk.say(b"250-x\r\n250 " + keyword + b"\r\n")


async def backend(nursery: trio.Nursery, script: Script) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(script).serve)
    return server


def receiving(server: LegacyServer) -> AbstractAsyncContextManager[Gate]:
    pool = pool_of(server.address, login=LoginMode.NONE)
    return gate(Protocol.MX, TlsMode.STARTTLS, pool, domains=("ours.test",))


async def test_a_group_goes_to_the_backend_as_one(nursery: trio.Nursery) -> None:
    """A hundred recipients would else cost a hundred round trips to a backend that is far away."""

    async def script(talk: Talk) -> None:
        await begun(talk)
        # It answers nothing before it has all of them: who waits for a reply between them waits for ever.
        assert [await talk.line() for _ in range(4)] == [
            b"MAIL FROM:<ann@example.org>",
            b"RCPT TO:<bob@ours.test>",
            b"RCPT TO:<nobody@ours.test>",
            b"RCPT TO:<carol@ours.test>",
        ]
        await talk.say(
            b"250 2.1.0 sender\r\n250 2.1.5 bob\r\n550 5.1.1 nobody\r\n250-2.1.5 carol\r\n250 2.1.5 carol\r\n"
        )
        assert await talk.line() == b"DATA"
        await talk.say(b"354 go\r\n")
        await talk.until((b"\r\n.\r\n",))
        await talk.say(b"250 2.0.0 kept\r\n")
        await talk.line()

    server = await backend(nursery, script)
    async with receiving(server) as running:
        client = await greeted(running)
        await client.send(GROUP)
        said = [await client.line() for _ in range(7)]
        assert [line[:9] for line in said] == [
            b"250 2.1.0",
            b"250 2.1.5",
            b"550 5.7.1",
            b"550 5.1.1",
            b"250-2.1.5",
            b"250 2.1.5",
            b"354 go",
        ]
        assert await client.ask(b"Subject: x\r\n\r\nhello\r\n.") == b"250 2.0.0 kept"
        client.close()
        await running.quiet()
        assert running.trace.sessions[0].of("message")[0][2] == 2


async def test_a_backend_without_pipelining_is_asked_one_by_one(nursery: trio.Nursery) -> None:
    """RFC 2920 3.1: it may lose what comes before it has answered."""

    async def script(talk: Talk) -> None:
        await begun(talk, b"8BITMIME")
        for _ in range(4):
            await talk.line()
            with trio.move_on_after(0.02):
                raise AssertionError(await talk.more())
            await talk.say(b"250 ok\r\n")
        await talk.line()
        await talk.say(b"451 later\r\n")
        await talk.line()

    server = await backend(nursery, script)
    async with receiving(server) as running:
        client = await greeted(running)
        await client.send(GROUP)
        said = [await client.line() for _ in range(6)]
        assert [line[:3] for line in said] == [b"250", b"250", b"550", b"250", b"250", b"451"]


@pytest.mark.parametrize(
    ("replies", "heard"),
    [
        (b"553 5.1.8 sender\r\n503 5.5.1 a\r\n503 5.5.1 b\r\n503 5.5.1 c\r\n", [b"553 5.1.8"] * 3),
        (b"250 s\r\n250 2.1.5 a\r\n421 4.3.2 going\r\n", [b"250 2.1.5", b"451 4.3.2", b"451 4.3.2"]),
        (b"421 4.3.2 going\r\n", [b"451 4.3.2"] * 3),
        (b"250 s\r\n250 2.1.5 a\r\n", [b"451 4.4.2"] * 3),
        (b"250 s\r\n250 2.1.5 a\r\n250 2.1.5 b\r\n250 2.1.5 c\r\n250 2.1.5 d\r\n", [b"250 2.1.5"] * 3),
        (b"250 s\r\n354 a\r\n250 2.1.5 b\r\n250 2.1.5 c\r\n", [b"451 4.4.2"] * 3),
    ],
    ids=["sender refused", "421 in the group", "421 at once", "gone in the group", "a reply too many", "nonsense"],
)
async def test_a_group_that_fails(nursery: trio.Nursery, replies: bytes, heard: list[bytes]) -> None:
    """Nobody is told 250 who isn't taken; and a reply too many must never be DATA's."""

    async def script(talk: Talk) -> None:
        await begun(talk)
        for _ in range(4):
            await talk.line()
        await talk.say(replies)
        if len(replies.splitlines()) >= 4:
            await talk.line()
            await talk.say(b"354 go\r\n")
            await talk.line()

    server = await backend(nursery, script)
    async with receiving(server) as running:
        client = await greeted(running)
        await client.send(GROUP)
        said = [await client.line() for _ in range(6)]
        assert said[0].startswith(b"250 2.1.0")
        assert [line[:9] for line in [said[1], said[3], said[4]]] == heard
        assert not said[5].startswith(b"354")
