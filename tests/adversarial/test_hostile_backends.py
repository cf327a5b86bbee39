"""A backend as the attacker: what it floods, strips, injects or lies costs one login, and nobody anything else.

``gate`` checks for each case, when it ends, that what was counted is back at nothing and that no secret was told.
"""

from __future__ import annotations

import base64
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

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
from tests.gate import Client, Gate, gate, limits, records
from tests.legacy_server import SECRET, LegacyServer, Script, Talk
from tlsgate.backends.health import probe
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

KIB = 1024
# What may wait in the kernel, on both sides of a loopback connection, when the gateway has long cut it.
IN_KERNEL = 32 * 1024 * KIB
MOST_MEMORY = 1024 * KIB
SHOWN = (SECRET.encode(), base64.b64encode(SECRET.encode()), base64.b64encode(f"\0ann\0{SECRET}".encode()))
LOGINS = {name: course for name, course in COURSES.items() if course.protocol is not Protocol.MX}
STEPS = [(name, step) for name, course in LOGINS.items() for step in range(course.granted + 1)]


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


@contextmanager
def little_memory() -> Iterator[None]:
    """What is held at once within is at most MOST_MEMORY."""
    gc.collect()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY


@asynccontextmanager
async def before(nursery: trio.Nursery, course: Course, *scripts: Script) -> AsyncIterator[tuple[Gate, LegacyServer]]:
    """A gate before a backend that plays ``scripts``, a connection each, and the right course after them."""
    server: LegacyServer = await nursery.start(LegacyServer(*scripts, playing(course)).serve)
    tls = TlsMode.STARTTLS if course.protocol is Protocol.MX else TlsMode.IMPLICIT
    pool = course.pool(server.address)
    async with gate(course.protocol, tls, pool, domains=("example.org",)) as running:
        yield running, server


async def refused_then_served(running: Gate, server: LegacyServer, course: Course, step: int) -> Client:
    """The first login is put off, the backend has seen no secret before its time, and the next login is served."""
    client = await running.secure()
    assert (await client.log_in()).startswith(client.speech.unavailable)
    heard = bytes(server.talks[0].heard)
    assert step >= course.told or not any(each in heard for each in SHOWN)
    (session,) = running.trace.sessions
    assert len(session.of("login_unavailable")) == 1
    assert not session.of("auth_failed")
    assert (await client.log_in()).startswith(client.speech.granted)
    return client


LOSSES: dict[str, Deed] = {
    "closes": closes,
    "closes mid-line": closes_mid_line,
    "resets": resets,
    "resets mid-line": resets_mid_line,
}
NONSENSE: dict[str, Deed] = {"HTTP": speaks_another_protocol, "NUL": sends_only_nul}


@pytest.mark.parametrize("deed", LOSSES)
@pytest.mark.parametrize(("name", "step"), STEPS)
async def test_a_connection_lost_at_any_step_of_the_login(
    nursery: trio.Nursery, name: str, step: int, deed: str
) -> None:
    """Else a client that is told its password is wrong throws it away; a backend that it can kill is lost to all."""
    course = COURSES[name]
    async with before(nursery, course, playing(course, step, LOSSES[deed])) as (running, server):
        backend = running.pool.backends[0]
        states: list[bool] = []
        backend.mark = lambda *, up, **more: states.append(up)  # type: ignore[method-assign]
        await refused_then_served(running, server, course, step)
        assert states == ([True] if step >= course.blamed else [False, True])
        (failure,) = records(running.pool).failures
        assert failure in ("connect", "closed", "tls")


@pytest.mark.parametrize("deed", NONSENSE)
@pytest.mark.parametrize(("name", "step"), STEPS)
async def test_nonsense_at_any_step_of_the_login(nursery: trio.Nursery, name: str, step: int, deed: str) -> None:
    course = COURSES[name]
    async with before(nursery, course, playing(course, step, NONSENSE[deed])) as (running, server):
        await refused_then_served(running, server, course, step)
        assert records(running.pool).failures == ["protocol"]


FLOODS: dict[str, tuple[bytes, int]] = {
    "an endless line": (b"x", 5),
    "NUL": (b"\0", 0),
    "CR": (b"\r", 4),
    "empty lines": (b"\r\n", 0),
}


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize(("name", "step"), STEPS)
async def test_a_flood_at_any_step_of_the_login_is_cut_early(
    nursery: trio.Nursery, name: str, step: int, kind: str
) -> None:
    """A gibibyte would end the process for everybody."""
    course, flood = COURSES[name], Flood(*FLOODS[kind])
    async with before(nursery, course, playing(course, step, flood)) as (running, server):
        await running.secure()  # what is made once is none of the flood's
        with little_memory():
            client = await running.secure()
            assert (await client.log_in()).startswith(client.speech.unavailable)
            await server.talks[0].cut.wait()
        assert flood.sent < IN_KERNEL
        assert records(running.pool).failures == ["protocol"]


LINES = {Protocol.IMAP: b"* OK still here\r\n", Protocol.SUBMISSION: b"250-AUTH\r\n", Protocol.POP3: b"X\r\n"}


@pytest.mark.parametrize("name", ["imap starttls", "pop3 xclient", "smtp plain"])
async def test_a_list_of_capabilities_without_end(nursery: trio.Nursery, name: str) -> None:
    """Each line of it is a right one."""
    course, flood = COURSES[name], Flood(LINES[COURSES[name].protocol])
    if course.protocol is Protocol.POP3:  # CAPA is asked where XCLIENT isn't in the greeting
        course = replace(course, says=(b"+OK hi\r\n", b"+OK\r\nXCLIENT\r\n.\r\n", *course.says[1:]))

    async def lists(talk: Talk, answer: bytes) -> None:
        await flood(talk, await _first(talk, b"+OK\r\n") if course.protocol is Protocol.POP3 else answer)

    async with before(nursery, course, playing(course, 1, lists)) as (running, server):
        with little_memory():
            client = await refused_then_served(running, server, course, 1)
            await server.talks[0].cut.wait()
        client.close()
        assert flood.sent < IN_KERNEL
        assert records(running.pool).failures == ["protocol"]


async def _first(talk: Talk, data: bytes) -> bytes:
    await talk.say(data)
    return b""


# -- lies ------------------------------------------------------------------------------------------------

LIES: dict[str, tuple[str, int, bytes]] = {
    "PREAUTH": ("imap login", 0, b"* PREAUTH hi\r\n"),
    "BYE": ("imap login", 0, b"* BYE not now\r\n"),
    "NO for a greeting": ("imap login", 0, b"* NO not now\r\n"),
    "POP3 for IMAP": ("imap login", 0, b"+OK hi\r\n"),
    "in two protocols": ("imap login", 0, b"* OK hi\r\n+OK hi\r\n220 hi\r\n"),
    "a grant for a greeting": ("imap login", 0, b"a OK in\r\n"),
    "a grant behind the greeting": ("imap login", 0, b"* OK hi\r\na OK in\r\n"),
    "untagged data behind the greeting": ("imap login", 0, b"* OK hi\r\n* 1 EXISTS\r\n"),
    "a grant for another tag": ("imap login", 1, b"a OK in\r\n"),
    "a grant without a tag": ("imap login", 1, b"OK in\r\n"),
    "an untagged BYE": ("imap login", 1, b"* BYE\r\nTAG OK in\r\n"),
    "BAD": ("imap login", 1, b"TAG BAD what?\r\n"),
    "a literal": ("imap login", 1, b"* X {5}\r\nhello\r\nTAG OK in\r\n"),
    "a huge literal": ("imap login", 1, b"* X {99999999999}\r\n"),
    "a literal in the grant": ("imap login", 1, b"TAG OK {3}\r\nabc\r\n"),
    "a continuation that nobody waits for": ("imap login", 1, b"+ go on\r\n"),
    "a grant before the secret": ("imap authenticate", 1, b"TAG OK in\r\n"),
    "a continuation and the grant": ("imap authenticate", 1, b"+ \r\nTAG OK in\r\n"),
    "SASL-IR that is none": (
        "imap authenticate",
        0,
        b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED SASL-IR AUTH=PLAIN] hi\r\n",
    ),
    "no way to log in": ("imap login", 0, b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n"),
    "two answers to ID": ("imap id", 1, b"TAG OK done\r\nTAG OK in\r\n"),
    "a continuation for ID": ("imap id", 1, b"+ \r\n"),
    "STARTTLS stripped": ("imap starttls", 1, b"* CAPABILITY IMAP4rev1\r\nTAG OK\r\n"),
    "STARTTLS refused": ("imap starttls", 2, b"TAG NO not now\r\n"),
    "STARTTLS answered by another tag": ("imap starttls", 2, b"a OK go\r\n"),
    "a grant behind STARTTLS": ("imap starttls", 2, b"TAG OK go\r\nTAG OK in\r\n"),
    "PREAUTH with STARTTLS": ("imap starttls", 0, b"* PREAUTH [CAPABILITY STARTTLS] hi\r\n"),
    "IMAP for POP3": ("pop3 user", 0, b"* OK hi\r\n"),
    "-ERR for a greeting": ("pop3 user", 0, b"-ERR [SYS/TEMP] not now\r\n"),
    "grants behind the POP3 greeting": ("pop3 user", 0, b"+OK hi\r\n+OK\r\n+OK in\r\n"),
    "a grant behind USER": ("pop3 user", 1, b"+OK\r\n+OK in\r\n"),
    "a challenge for USER": ("pop3 user", 1, b"+ \r\n"),
    "neither +OK nor -ERR": ("pop3 user", 2, b"OK in\r\n"),
    "STLS refused": ("pop3 stls", 1, b"-ERR not now\r\n"),
    "a grant behind STLS": ("pop3 stls", 1, b"+OK go\r\n+OK\r\n+OK in\r\n"),
    "XCLIENT answered twice": ("pop3 xclient", 1, b"+OK\r\n+OK\r\n"),
    "421 for a greeting": ("smtp plain", 0, b"421 4.3.2 not now\r\n"),
    "554 for a greeting": ("smtp plain", 0, b"554 no\r\n"),
    "354 for a greeting": ("smtp plain", 0, b"354 go\r\n"),
    "EHLO answered before it": ("smtp plain", 0, b"220 hi\r\n250-hi\r\n250 AUTH PLAIN\r\n"),
    "a grant behind EHLO": ("smtp plain", 1, b"250-hi\r\n250 AUTH PLAIN\r\n235 in\r\n"),
    "a grant for EHLO": ("smtp login", 1, b"235 in\r\n"),
    "no AUTH": ("smtp plain", 1, b"250 hi\r\n"),
    "only what we don't speak": ("smtp plain", 1, b"250-hi\r\n250 AUTH CRAM-MD5 GSSAPI\r\n"),
    "250 for AUTH": ("smtp plain", 2, b"250 ok\r\n"),
    "334 for AUTH": ("smtp plain", 2, b"334 \r\n"),
    "codes that change": ("smtp plain", 2, b"235-in\r\n535 5.7.8 no\r\n"),
    "a code of four digits": ("smtp plain", 2, b"2350 in\r\n"),
    "no code": ("smtp plain", 2, b"in\r\n"),
    "1yz": ("smtp plain", 2, b"135 in\r\n"),
    "6yz": ("smtp plain", 2, b"635 in\r\n"),
    "a grant before the user": ("smtp login", 2, b"235 in\r\n"),
    "a grant before the secret in SMTP": ("smtp login", 3, b"235 in\r\n"),
    "a challenge and a grant": ("smtp login", 3, b"334 \r\n235 in\r\n"),
    "STARTTLS stripped from EHLO": ("smtp starttls", 1, b"250-hi\r\n250 AUTH PLAIN\r\n"),
    "EHLO refused, so no STARTTLS": ("smtp starttls", 1, b"502 what?\r\n"),
    "454 for STARTTLS": ("smtp starttls", 2, b"454 4.7.0 not now\r\n"),
    "an EHLO behind STARTTLS": ("smtp starttls", 2, b"220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n"),
}
SHOWN_RIGHTLY = {"SASL-IR that is none"}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_a_fault_of_the_backends(nursery: trio.Nursery, lie: str) -> None:
    """Never a login, never a wrong password, and no secret for who strips or injects."""
    name, step, said = LIES[lie]
    course = COURSES[name]
    async with before(nursery, course, playing(course, step, said)) as (running, server):
        await refused_then_served(running, server, course, course.told if lie in SHOWN_RIGHTLY else step)
        assert records(running.pool).failures == ["protocol"]
        assert running.pool.backends[0].up  # for that a probe must find it so, too


# -- what is passed on -----------------------------------------------------------------------------------

MANY = b" ".join(b"X%d" % number for number in range(10_000))
GRANTS: dict[str, tuple[str, int, bytes]] = {
    "untagged data": ("imap login", 1, b"* 1 EXISTS\r\n* X \xff\x00\x1b[2J\r\nTAG OK in\r\n"),
    "no words": ("imap login", 1, b"TAG OK\r\n"),
    "8-bit, NUL and escapes": ("imap login", 1, b"TAG OK \xff\x00\x1b[2J\r * BYE\r\n"),
    "garbage for capabilities": ("imap login", 1, b"TAG OK [CAPABILITY ]a \x00\xff {3} \x1b[2J IMAP4rev1] in\r\n"),
    "thousands of capabilities": ("imap login", 1, b"TAG OK [CAPABILITY " + MANY[:16000] + b"] in\r\n"),
    "capabilities again and again": ("imap login", 1, (b"* CAPABILITY " + MANY[:9000] + b"\r\n") * 40 + b"TAG OK\r\n"),
    "capabilities that are ours to give": ("imap login", 1, b"TAG OK [CAPABILITY STARTTLS AUTH=PLAIN IDLE] in\r\n"),
    "garbage in POP3": ("pop3 user", 2, b"+OK \xff\x00\x1b[2J\r+OK\r\n"),
    "a long line in POP3": ("pop3 user", 2, b"+OK " + b"x" * 16000 + b"\r\n"),
    "garbage in EHLO": ("smtp plain", 1, b"250-hi\r\n250-\xff\x00\x1b[2J\r250 x\r\n250-SIZE -1\r\n250 AUTH PLAIN\r\n"),
    "many extensions": ("smtp plain", 1, b"250-hi\r\n" + b"250-X\r\n" * 120 + b"250-SIZE \r\n250 AUTH PLAIN\r\n"),
    "a size that is no number": ("smtp plain", 1, b"250-hi\r\n250-SIZE 9" + b"9" * 2000 + b"\r\n250 AUTH PLAIN\r\n"),
    "many lines in SMTP": ("smtp plain", 2, b"235-\xff\x00\r\n" * 100 + b"235 in\r\n"),
}


@pytest.mark.parametrize("kind", GRANTS)
async def test_what_a_granting_backend_says_is_made_fit_for_a_client(nursery: trio.Nursery, kind: str) -> None:
    """A reply of its with octets of control in it would be another reply, or a terminal's command."""
    name, step, said = GRANTS[kind]
    course = COURSES[name]
    async with before(nursery, course, playing(course, step, said)) as (running, _):
        client = await running.secure()
        with little_memory():
            line = await client.log_in()
        assert line.startswith(client.speech.granted.strip()), line
        assert line.isascii() and line.decode().isprintable()
        assert len(line) < 8 * KIB
        assert not any(word in line for word in (b"STARTTLS", b"AUTH=", b"]a"))


async def test_only_atoms_are_offered_for_capabilities(nursery: trio.Nursery) -> None:
    """A client would take "{5}" at a line's end for the beginning of a literal, and our next reply for its octets."""
    course = COURSES["imap login"]
    lie = b'* OK [CAPABILITY IMAP4rev1 IDLE x"y" (a) b% *c d\\e f\xff {5} QUOTA=RES-STORAGE {5}] hi\r\n'
    async with before(nursery, course, playing(course, 0, lie)) as (running, _):
        await probe(running.pool.backends[0], running.house.service.backend_dialogue, 5.0)
        client = await running.secure()
        said = await client.ask(b"a CAPABILITY")
        assert said.endswith(b" IDLE f? QUOTA=RES-STORAGE")
        assert (await client.line()).startswith(b"a OK ")


async def test_a_refusal_names_no_other_server(nursery: trio.Nursery) -> None:
    """RFC 2221: a client that follows would take its password there."""
    course = COURSES["imap login"]
    lie = b"TAG NO [REFERRAL imap://evil.example/] \x1b[2Jgo\xff\r\n"
    async with before(nursery, course, playing(course, 1, lie)) as (running, _):
        client = await running.secure()
        assert await client.log_in() == b"a NO [AUTHENTICATIONFAILED] ?[2Jgo?"


# -- TLS -------------------------------------------------------------------------------------------------

NO_TLS: dict[str, Deed | bytes] = {
    "closes": closes,
    "resets": resets,
    "clear text": b"* OK hi\r\n",
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "a record without end": b"\x16\x03\x03\xff\xff" + b"x" * 70_000,
    "a flood": Flood(b"\x16\x03\x03\x40\x00"),
}
SECURED = ["imap implicit", "imap starttls", "pop3 stls", "smtp starttls"]


@pytest.mark.parametrize("deed", NO_TLS)
@pytest.mark.parametrize("name", SECURED)
async def test_no_handshake_no_secret(nursery: trio.Nursery, name: str, deed: str) -> None:
    course = COURSES[name]

    async def talks_no_tls(talk: Talk) -> None:
        bare = replace(course, says=(*course.says[: course.tls_at], b""), tls_at=-1)
        what = NO_TLS[deed]

        async def does(talk: Talk, answer: bytes) -> None:
            if isinstance(what, bytes):
                await talk.say(what)
                await talk.silence()
            else:
                await what(talk, answer)

        await _steps(talk, bare)
        await talk.more()  # a ClientHello
        await does(talk, b"")

    async with before(nursery, course, talks_no_tls) as (running, server):
        with little_memory():
            client = await refused_then_served(running, server, course, 0)
        client.close()
        assert b"ann" not in server.talks[0].heard
        assert records(running.pool).failures == ["tls"]


async def _steps(talk: Talk, course: Course) -> None:
    """The course in clear."""
    for number, said in enumerate(course.says[:-1]):
        tag = (await talk.line()).split(b" ")[0] if number else b""
        await talk.say(said.replace(b"TAG", tag))


# -- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "step"), [each for each in STEPS if each[0] in ("imap login", "pop3 user", "smtp login")]
)
async def test_an_octet_a_second_holds_nobody_beyond_login_timeout(
    clock: MockClock, nursery: trio.Nursery, name: str, step: int
) -> None:
    course = COURSES[name]
    scripts = [dripping(course, step, 1.0)]
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve)
    async with gate(
        course.protocol, TlsMode.IMPLICIT, course.pool(server.address), limits(login_timeout=20)
    ) as running:
        client = await running.secure()
        began = trio.current_time()
        assert (await client.log_in()).startswith(client.speech.unavailable)
        assert trio.current_time() - began < 20
        assert records(running.pool).failures == ["timeout"]
        await server.talks[0].cut.wait()


# -- probes ----------------------------------------------------------------------------------------------

UNFIT = ["PREAUTH", "in two protocols", "IMAP for POP3", "554 for a greeting", "STARTTLS stripped", "STLS refused"]


@pytest.mark.parametrize("lie", UNFIT)
async def test_a_probe_finds_a_liar_down(nursery: trio.Nursery, lie: str) -> None:
    """Logins go elsewhere then, and tlsgate_backend_up says so."""
    name, step, said = LIES[lie]
    course = COURSES[name]
    async with before(nursery, course, playing(course, step, said)) as (running, _):
        service = running.house.service
        await probe(running.pool.backends[0], service.backend_dialogue, 5.0)
        assert (records(running.pool).failures, records(running.pool).states) == (["protocol"], [False])


@pytest.mark.parametrize("name", ["imap login", "pop3 user", "smtp plain"])
async def test_a_probe_takes_no_flood(nursery: trio.Nursery, name: str) -> None:
    course = COURSES[name]
    flood = Flood(LINES[course.protocol])

    async def lists(talk: Talk, answer: bytes) -> None:
        await flood(talk, await _first(talk, b"+OK\r\n") if course.protocol is Protocol.POP3 else answer)

    async with before(nursery, course, playing(course, 1, lists)) as (running, server):
        with little_memory():
            await probe(running.pool.backends[0], running.house.service.backend_dialogue, 5.0)
            await server.talks[0].cut.wait()
        assert flood.sent < IN_KERNEL
        assert records(running.pool).states == [False]


# -- behind the login ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["imap login", "pop3 user", "imap implicit"])
async def test_a_flood_for_a_client_that_does_not_read_stops_at_the_backend(nursery: trio.Nursery, name: str) -> None:
    """What a backend can send faster than a client takes must not be kept here: sessions are many."""
    course, flood = COURSES[name], Flood(b"* 1 FETCH (X)\r\n")

    async def floods(talk: Talk, answer: bytes) -> None:
        await talk.say(answer)
        await flood(talk, b"")

    async with before(nursery, course, playing(course, course.granted, floods)) as (running, server):
        client = await running.logged_in()
        with little_memory():
            await flood.stopped()
        assert 0 < running.pump.backlog <= 256 * KIB
        assert flood.sent < IN_KERNEL
        assert not server.talks[0].cut.is_set()
        client.reset()
        await running.quiet()
