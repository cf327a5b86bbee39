"""A backend as the attacker behind the login: what it floods or lies in a mail transaction is a temporary failure.

Never a 250 that it hasn't meant, never a message that it may keep and its sender doesn't know of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.adversarial.hostile_backend import (
    COURSES,
    Course,
    Deed,
    Flood,
    closes,
    closes_mid_line,
    dripping,
    playing,
    resets,
    resets_mid_line,
    sends_only_nul,
    speaks_another_protocol,
)
from tests.adversarial.test_hostile_backends import IN_KERNEL, little_memory
from tests.gate import Client, Gate, gate, records
from tests.legacy_server import LegacyServer, Script, Smtp, Talk
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

MAIL, RCPT, BODY = b"MAIL FROM:<ann@example.org>", b"RCPT TO:<bob@example.org>", b"Subject: x\r\n\r\nhello\r\n."
LOST = b"451 4.4.2 Mail server is not reachable, try again later"
STEPS = ["MAIL", "RCPT", "DATA", "END"]
NAMES = ["smtp plain", "mx"]
each_step = pytest.mark.parametrize("step", STEPS)
each_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


@asynccontextmanager
async def sending(nursery: trio.Nursery, course: Course, *scripts: Script) -> AsyncIterator[tuple[Client, Gate]]:
    """A client that may send mail; the backend plays ``scripts``, a connection each, and is a right one after them."""
    server: LegacyServer = await nursery.start(LegacyServer(*scripts, Smtp()).serve)
    mx = course.protocol is Protocol.MX
    tls = TlsMode.STARTTLS if mx else TlsMode.IMPLICIT
    async with gate(course.protocol, tls, course.pool(server.address), domains=("example.org",)) as running:
        client = await (running.secure() if mx else running.logged_in())
        if mx:
            assert (await client.ask(b"EHLO peer.example")).startswith(b"250 ")
        yield client, running


def at(course: Course, step: str, deed: Deed | bytes) -> Script:
    return playing(course, course.granted + 1 + STEPS.index(step), deed)


async def tried(client: Client) -> list[bytes]:
    """The replies to a message's four steps; the body is sent if it is asked for."""
    said = [await client.ask(MAIL), await client.ask(RCPT), await client.ask(b"DATA")]
    if said[-1].startswith(b"354 "):
        said.append(await client.ask(BODY))
    return said


async def put_off_then_sent(client: Client) -> list[bytes]:
    """A message that doesn't come to stand, and then one that does: the session isn't lost with its backend."""
    said = await tried(client)
    assert not any(each.startswith(b"250 2.0.0 queued") for each in said)
    assert LOST in said
    assert all(each[:4] in (b"250 ", b"354 ", b"451 ", b"503 ", b"554 ") for each in said), said
    await client.ask(b"RSET")
    assert (await tried(client))[-1] == b"250 2.0.0 Queued"
    return said


# -- before the first message ----------------------------------------------------------------------------

MX_STEPS = [(name, step) for name in ("mx", "mx xclient") for step in range(COURSES[name].granted + 1)]
BAD_STARTS: dict[str, Deed | bytes] = {
    "closes": closes,
    "resets mid-line": resets_mid_line,
    "HTTP": speaks_another_protocol,
    "421": b"421 4.3.2 bye\r\n",
    "a grant of the other kind": b"354 go\r\n",
    "codes that change": b"250-ok\r\n220 hi\r\n",
}


@pytest.mark.parametrize("kind", [*BAD_STARTS, "drips", "flood"])
@pytest.mark.parametrize(("name", "step"), MX_STEPS)
async def test_a_backend_that_never_gets_as_far_as_mail(
    clock: MockClock, nursery: trio.Nursery, name: str, step: int, kind: str
) -> None:
    """A message that is put off is sent again; one that is refused for that is lost."""
    course, flood = COURSES[name], Flood(b"x", 4)
    script = dripping(course, step, 1.0) if kind == "drips" else playing(course, step, BAD_STARTS.get(kind, flood))
    async with sending(nursery, course, script) as (client, running):
        began = trio.current_time()
        with little_memory():
            assert (await client.ask(MAIL)).startswith(b"250 ")
            assert await client.ask(RCPT) == LOST
        assert trio.current_time() - began < 70
        assert flood.sent < IN_KERNEL
        assert len(records(running.pool).failures) == len(running.trace.sessions[0].of("no_backend")) == 1
        await client.ask(b"RSET")
        if name == "mx":  # that it isn't told who the client is keeps the other kind from being served by this one
            assert (await tried(client))[-1] == b"250 2.0.0 Queued"


# -- within a message ------------------------------------------------------------------------------------

FAULTS: dict[str, Deed | bytes] = {
    "closes": closes,
    "closes mid-line": closes_mid_line,
    "resets": resets,
    "resets mid-line": resets_mid_line,
    "HTTP": speaks_another_protocol,
    "NUL": sends_only_nul,
    "nothing but a code's beginning": b"25\r\n",
    "1yz": b"150 go\r\n",
    "6yz": b"650 go\r\n",
    "codes that change": b"250-ok\r\n550 no\r\n",
    "a grant of the other kind, and the right one": b"354 go\r\n250 ok\r\n",
    "220": b"220 hi\r\n334 \r\n",
    "too many lines": b"250-x\r\n" * 200 + b"250 x\r\n",
    "IMAP": b"* OK ok\r\n",
}


@pytest.mark.parametrize("kind", FAULTS)
@each_step
@each_name
async def test_a_fault_at_any_step_of_a_message(nursery: trio.Nursery, name: str, step: str, kind: str) -> None:
    course = COURSES[name]
    if kind == "220" and step in ("MAIL", "RCPT", "END"):
        kind = "IMAP"  # 220 is of the right kind there
    async with sending(nursery, course, at(course, step, FAULTS[kind])) as (client, running):
        await put_off_then_sent(client)
        # Whoever looks why mail is put off must find it.
        (failure,) = records(running.pool).failures
        assert failure in ("closed", "protocol")
        (told,) = running.trace.sessions[0].of("no_backend")
        assert str(told[0]).startswith(f"{running.pool.backends[0].address}: {failure}: ")


LIES = {
    "250 for DATA": ("DATA", b"250 ok\r\n"),
    "354 for MAIL": ("MAIL", b"354 go\r\n"),
    "354 for RCPT": ("RCPT", b"354 go\r\n"),
    "354 for the end": ("END", b"354 go\r\n"),
    "the end's answer behind 354": ("DATA", b"354 go\r\n250 2.0.0 queued\r\n"),
    "421 for MAIL": ("MAIL", b"421 4.3.2 bye\r\n"),
    "421 for RCPT": ("RCPT", b"421 4.3.2 bye\r\n"),
    "421 for DATA": ("DATA", b"421 4.3.2 bye\r\n"),
    "421 for the end": ("END", b"421 4.3.2 bye\r\n"),
}


@pytest.mark.parametrize("lie", LIES)
@each_name
async def test_a_lie_is_a_temporary_failure(nursery: trio.Nursery, name: str, lie: str) -> None:
    step, said = LIES[lie]
    course = COURSES[name]
    async with sending(nursery, course, at(course, step, said)) as (client, _):
        answers = await tried(client)
        assert any(each.startswith((b"451 4.4.2 ", b"451 4.3.2 ")) for each in answers), answers
        assert not any(each.startswith(b"250 2.0.0 queued") for each in answers)
        await client.ask(b"RSET")
        assert (await tried(client))[-1] == b"250 2.0.0 Queued"


async def test_without_a_354_no_message_is_sent(nursery: trio.Nursery) -> None:
    """It would be read as commands there."""
    course = COURSES["smtp plain"]
    server: LegacyServer = await nursery.start(LegacyServer(at(course, "DATA", b"250 ok\r\n")).serve)
    async with gate(course.protocol, TlsMode.IMPLICIT, course.pool(server.address)) as running:
        client = await running.logged_in()
        await client.send(b"\r\n".join([MAIL, RCPT, b"DATA", BODY, b"NOOP", b""]))
        for _ in range(3):
            assert (await client.reply())[:1] in b"24"
        await server.talks[0].cut.wait()
        assert b"Subject" not in server.talks[0].heard


FLOODS: dict[str, tuple[bytes, int]] = {
    "an endless line": (b"x", 4),
    "NUL": (b"\0", 0),
    "an endless reply": (b"250-ok\r\n", 0),
    "replies": (b"550 5.7.1 no\r\n", 0),
}


@pytest.mark.parametrize("kind", FLOODS)
@each_step
@each_name
async def test_a_flood_at_any_step_is_cut_early(nursery: trio.Nursery, name: str, step: str, kind: str) -> None:
    course, flood = COURSES[name], Flood(*FLOODS[kind])
    async with sending(nursery, course, at(course, step, flood)) as (client, _):
        with little_memory():
            answers = await tried(client)
            await client.ask(b"RSET")
        assert any(each[:1] in b"45" for each in answers)
        assert flood.sent < IN_KERNEL
        assert (await tried(client))[-1] == b"250 2.0.0 Queued"


@each_name
async def test_a_flood_of_refusals_while_the_body_is_sent(nursery: trio.Nursery, name: str) -> None:
    """Nobody reads them before the end: they stay where they are."""
    course, flood = COURSES[name], Flood(b"550 5.7.1 no\r\n")

    async def floods(talk: Talk, answer: bytes) -> None:
        await talk.say(answer)
        await flood(talk, b"")

    async with sending(nursery, course, at(course, "DATA", floods)) as (client, _):
        for command in (MAIL, RCPT, b"DATA"):
            await client.ask(command)
        with little_memory():
            for _ in range(500):
                await client.send(b"x" * 70 + b"\r\n")
            assert (await client.ask(b".")).startswith((b"451 4.4.2 ", b"550 5.7.1 "))
        assert flood.sent < IN_KERNEL
        await client.ask(b"RSET")
        assert (await tried(client))[-1] == b"250 2.0.0 Queued"


async def test_a_flood_while_the_client_is_idle_is_not_read(nursery: trio.Nursery) -> None:
    course, flood = COURSES["smtp plain"], Flood(b"250 ok\r\n")

    async def floods(talk: Talk, answer: bytes) -> None:
        await talk.say(answer)
        await flood(talk, b"")

    script = playing(course, course.granted, floods)
    async with sending(nursery, course, script) as (client, _):
        with little_memory():
            await flood.stopped()
            sent = flood.sent
            assert (await tried(client))[-1] == b"250 2.0.0 Queued"  # at a new connection: that one spoke unasked
        assert sent < IN_KERNEL


@each_step
async def test_an_answer_that_drips_has_an_end(clock: MockClock, nursery: trio.Nursery, step: str) -> None:
    """RFC 5321 4.5.3.2: what a server is granted for a whole reply, and not for each of its octets."""
    course = COURSES["mx"]
    script = dripping(course, course.granted + 1 + STEPS.index(step), 20.0)
    async with sending(nursery, course, script) as (client, _):
        began = trio.current_time()
        assert LOST in await tried(client)
        assert trio.current_time() - began < 700


async def test_words_of_a_refusal_are_made_fit(nursery: trio.Nursery) -> None:
    """Octets of control in a reply would be another reply, or a terminal's command."""
    course = COURSES["smtp plain"]
    lie = b"550-5.1.1 \xff\x00\x1b[2J\r250 x\r\n550 5.1.1 \xe2\x80\xa8no\r\n"
    async with sending(nursery, course, at(course, "RCPT", lie)) as (client, _):
        await client.ask(MAIL)
        await client.send(RCPT + b"\r\n")
        for line in await client.lines():
            assert line.startswith(b"550")
            assert line.isascii() and line.decode().isprintable()


PIPELINING = b"250-hi\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (b"250 ok\r\n", [b"451", b"451", b"554"]),
        (b"503 5.5.1 one by one\r\n", [b"451", b"451", b"554"]),
        (b"250 ok\r\n550 no\r\n", [b"250", b"550", b"451"]),
        (b"250 ok\r\n550 no\r\n354 go\r\n", [b"250", b"550", b"451"]),
    ],
    ids=["answers one", "refuses all at once", "answers both", "answers one too many"],
)
async def test_pipelining_that_is_none(
    clock: MockClock, nursery: trio.Nursery, said: bytes, codes: list[bytes]
) -> None:
    """Each recipient has one answer, and it is the backend's or a temporary one."""

    async def script(talk: Talk) -> None:
        await talk.say(b"220 hi\r\n")
        for answer in (PIPELINING, b"235 in\r\n", b"250 ok\r\n", said):
            await talk.line()
            await talk.say(answer)
        await talk.silence()

    async with sending(nursery, COURSES["smtp plain"], script) as (client, _):
        assert (await client.ask(MAIL)).startswith(b"250 ")
        await client.send(RCPT + b"\r\n" + b"RCPT TO:<carol@example.org>\r\n")
        answers = [await client.reply() for _ in range(2)]
        answers.append(await client.ask(b"DATA"))
        assert [each[:3] for each in answers] == codes
