"""SMTP smuggling (CVE-2023-51764, 51765, 51766): a backend gets one message for each that was accepted, never two.

Behind the gate is the sloppiest server there could be: CR, LF and CR LF all end its lines, of commands and of messages,
and it drops NULs. What such a one makes of the octets is what the client has sent, or it gets nothing whole.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gate import Client, Gate, gate, pool_of
from tests.legacy_server import LegacyServer, Talk, behind_trace
from tlsgate.config import BareNewlines, Protocol, TlsMode
from tlsgate.dialogue.smtp_chunks import ChunkDecoder
from tlsgate.dialogue.smtp_data import END_OF_DATA, DataDecoder
from tlsgate.mail.passage import Passage

pytestmark = pytest.mark.timeout(120)

MAIL = b"MAIL FROM:<ann@example.org>"
RCPT = b"RCPT TO:<bob@example.org>"
_PATIENCE = 20.0  # seconds for a whole session, which takes some milliseconds
HEAD = b"Received: from client.example by mail.example.org with ESMTP id x;\r\n\tnow\r\n"
SMUGGLED = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nhello"


def sloppy_lines(octets: bytes) -> list[bytes]:
    """What the sloppiest reader takes for the lines; the last one has no end."""
    return octets.replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


class Sloppy:
    """The server. ``commands`` and ``messages``: what it has understood, those without stuffed dots."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.messages: list[bytes] = []

    async def __call__(self, talk: Talk) -> None:
        lines = _Lines(talk)
        await talk.say(b"220 sloppy ESMTP\r\n")
        while True:
            command = await lines.next()
            self.commands.append(command)
            match command[:4].upper():
                case b"EHLO":
                    await talk.say(b"250-sloppy\r\n250 AUTH PLAIN\r\n")
                case b"AUTH":
                    await talk.say(b"235 2.7.0 Ok\r\n")
                case b"DATA":
                    await talk.say(b"354 Go on\r\n")
                    await self._message(lines)
                    await talk.say(b"250 2.0.0 Queued\r\n")
                case b"QUIT":
                    await talk.say(b"221 2.0.0 Bye\r\n")
                    return
                case _:
                    await talk.say(b"250 2.0.0 Ok\r\n")

    async def _message(self, lines: _Lines) -> None:
        body = b""
        while (line := await lines.next()) != b".":
            body += line.removeprefix(b".") + b"\r\n"
        self.messages.append(body)


class _Lines:
    """Lines as they come, without their ends, whatever they are: a CR is one before its LF has come."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._unread = b""
        self._cr = False

    async def next(self) -> bytes:
        while b"\n" not in self._unread:
            data = await self._talk.more()
            whole = data.removeprefix(b"\n") if self._cr else data
            self._cr = data.endswith(b"\r")
            self._unread += b"\n".join(sloppy_lines(whole))
        line, _, self._unread = self._unread.partition(b"\n")
        return line


# -- what is sent, and what must come of it --------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A message: its octets as they are on the wire but for DATA's end; and where the pieces (or chunks) are cut."""

    text: bytes
    chunked: bool = False
    cuts: tuple[int, ...] = ()

    @property
    def pieces(self) -> list[bytes]:
        places = [0, *sorted(cut for cut in self.cuts if cut < len(self.wire)), len(self.wire)]
        return [self.wire[begin:end] for begin, end in itertools.pairwise(places)]

    @property
    def wire(self) -> bytes:
        """The octets behind DATA, or of all chunks. The client's own end of data is only at the end."""
        if self.chunked:
            return self.text
        text = b"\r\n" + self.text + b"\r\n"
        while b"\r\n.\r\n" in text:
            text = text.replace(b"\r\n.\r\n", b"\r\n..\r\n")
        return text[2:] + b".\r\n"

    def kept(self, normalize: bool) -> bytes | None:
        """The message that RFC 5321 makes of it, None for one that must be refused."""
        message = self.text if self.chunked else _unstuffed(self.wire[:-3])
        if normalize:
            message = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
        if b"\0" in message or re.search(rb"\r(?!\n)|(?<!\r)\n", message):
            return None
        return message if not message or message.endswith(b"\r\n") else message + b"\r\n"


def _unstuffed(text: bytes) -> bytes:
    return re.sub(rb"(\A|\r\n)\.", rb"\1", text)


_PIECES = st.sampled_from(
    [
        b"\r\n", b"\r\n", b"\r", b"\n", b".", b".", b"..", b"\0", b"\r\n.\r\n", b"\r\n..\r\n", b"\n.\n", b"\r.\r",
        b"\n.\r\n", b"\r\n.\r", b"\r\n.\n", b"\r\r\n", b" ", b"x", b"Subject: x", b"From eve", b"\xff", b"QUIT\r\n",
        b"RSET\r\n", b"MAIL FROM:<evil@example.org>\r\n", b"RCPT TO:<evil@example.org>\n",
        b"DATA\r\n", b"BDAT 3 LAST\r\n",
    ]
)  # fmt: skip
# Half of the messages have no fault, so that they come to their end.
_RIGHT = st.sampled_from(
    [b"\r\n", b".", b"..", b"\r\n.\r\n", b"\r\n..\r\n", b"x", b"a: b", b" ", SMUGGLED, b"\r\n\r\n"]
)
_TEXTS = (st.lists(_RIGHT, max_size=8) | st.lists(_PIECES, max_size=12)).map(b"".join)
_CUTS = st.lists(st.integers(0, 60), max_size=6).map(tuple) | st.just(tuple(range(400)))
_SENT = st.builds(Sent, _TEXTS, st.booleans(), _CUTS)

ENDS = (
    b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n",
    b"\r\n.\0\r\n", b"\r\n.\r\0\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\n\n.\n\n", b"\r\n\r.\r\n", b"\n..\r\n",
)  # fmt: skip
"""cases.md D8, and more of the kind. ``\\n.\\r\\n`` is what Postfix, Sendmail and Exim took, ``\\r.\\r`` others."""


def smuggling(end: bytes) -> bytes:
    return b"Subject: first\r\n\r\nhello" + end + SMUGGLED


# -- without sockets -------------------------------------------------------------------------------------


async def passed(sent: Sent, normalize: bool) -> bytes | None:
    """What a backend gets of a message behind DATA, up to the end; None for one that is refused."""
    passage = Passage(HEAD, "mail.example.org", None)
    out = b""
    if sent.chunked:
        chunks = ChunkDecoder(10**6, normalize=normalize)
        pieces = sent.pieces
        for at, piece in enumerate(pieces):
            chunks.begin(len(piece), at == len(pieces) - 1)
            out += await passage.feed(chunks.feed(piece))
        assert chunks.ended
        fault = chunks.fault
    else:
        decoder = DataDecoder(10**6, normalize=normalize)
        for piece in sent.pieces:
            out += await passage.feed(decoder.feed(piece))
        assert decoder.ended
        assert not decoder.rest
        fault = decoder.fault
    return None if fault else out + passage.finish() + END_OF_DATA


def assert_is(kept: bytes, message: bytes) -> None:
    """What a backend has kept is this message, behind our fields and what may have to part them from it."""
    behind = behind_trace(kept)
    assert behind in (message, b"\r\n" + message, b"X-Mailbox-Line: " + message)


@pytest.mark.parametrize("normalize", [False, True])
@settings(max_examples=600, deadline=None)
@given(sent=_SENT)
@example(sent=Sent(b"\r\n.\nx", cuts=(2, 3)))
@example(sent=Sent(b"\r\n.\nx", cuts=(4,)))
@example(sent=Sent(b"..\nx\r\n", cuts=(1, 2, 3)))
@example(sent=Sent(b"x\n.\r\ny", cuts=(1, 2, 3, 4)))
@example(sent=Sent(b"x\r\n.\r\ny\r", chunked=True, cuts=(1, 2, 3, 4, 5)))
def test_one_message_and_that_one(sent: Sent, normalize: bool) -> None:
    octets = trio.run(passed, sent, normalize)
    message = sent.kept(normalize)
    assert (octets is None) is (message is None)
    if octets is None or message is None:
        return
    lines = sloppy_lines(octets)
    assert lines.index(b".") == len(lines) - 2
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets)  # so all readers see the same lines
    assert_is(_unstuffed(octets.removesuffix(END_OF_DATA)), message)


# -- through the gate ------------------------------------------------------------------------------------


@dataclass
class Sending:
    """A client, and the sloppy server that the gate has behind it."""

    client: Client
    sloppy: Sloppy
    gate: Gate

    async def send(self, sent: Sent) -> bytes:
        """One message; the reply to its end."""
        for command in (MAIL, RCPT):
            said = await self.client.ask(command)
            assert said.startswith(b"250 "), said
        if not sent.chunked:
            assert (await self.client.ask(b"DATA")).startswith(b"354 ")
            for piece in sent.pieces:
                await self.client.send(piece)  # each is a TLS record, so nothing is put together on the way
            return await self.client.reply()
        said = b""
        for at, piece in enumerate(sent.pieces):
            last = b" LAST" if at == len(sent.pieces) - 1 else b""
            await self.client.send(b"BDAT %d%s\r\n%s" % (len(piece), last, piece))
            said = await self.client.reply()
            assert last or said.startswith(b"250 "), said
        return said


@asynccontextmanager
async def sending(protocol: Protocol, bare_newlines: BareNewlines) -> AsyncIterator[Sending]:
    """At the end the server has had nothing but what is meant: it has no command of anybody but us."""
    sloppy = Sloppy()
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + _PATIENCE
        server: LegacyServer = await nursery.start(LegacyServer(sloppy).serve)
        tls = TlsMode.STARTTLS if protocol is Protocol.MX else TlsMode.IMPLICIT
        pool = pool_of(server.address)
        async with gate(protocol, tls, pool, domains=("example.org",), bare_newlines=bare_newlines) as running:
            client = await (running.secure() if protocol is Protocol.MX else running.logged_in())
            await client.ask(b"EHLO client.example")
            yield Sending(client, sloppy, running)
            client.close()
            await running.quiet()
        for talk in server.talks:
            await talk.cut.wait()
            assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", talk.heard)
        nursery.cancel_scope.cancel()
    assert trio.current_time() < nursery.cancel_scope.deadline, "somebody waits for what never comes"
    meant = {MAIL, RCPT, b"DATA", b"RSET", b"QUIT", b"EHLO mail.example.org"}
    assert {each for each in sloppy.commands if not each.startswith(b"AUTH PLAIN ")} <= meant


async def exchange(protocol: Protocol, bare_newlines: BareNewlines, messages: Sequence[Sent]) -> list[bytes]:
    """Send them over one connection; the replies."""
    said = []
    accepted = []
    async with sending(protocol, bare_newlines) as session:
        for sent in messages:
            said.append(await session.send(sent))
            message = sent.kept(bare_newlines is BareNewlines.NORMALIZE)
            if message is None:
                assert said[-1].startswith(b"550 5.6.0 "), said[-1]
            else:
                assert said[-1] == b"250 2.0.0 Queued"
                accepted.append(message)
        assert session.sloppy.commands.count(b"DATA") == session.sloppy.commands.count(MAIL) == len(messages)
    assert len(session.sloppy.messages) == len(accepted)
    for kept, message in zip(session.sloppy.messages, accepted, strict=True):
        assert_is(kept, message)
    return said


PROTOCOLS = [Protocol.SUBMISSION, Protocol.MX]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bare_newlines", BareNewlines)
@settings(max_examples=40, deadline=None)
@given(messages=st.lists(_SENT, min_size=1, max_size=6))
def test_as_many_messages_as_were_accepted(
    protocol: Protocol, bare_newlines: BareNewlines, messages: list[Sent]
) -> None:
    trio.run(exchange, protocol, bare_newlines, messages)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bare_newlines", BareNewlines)
@pytest.mark.parametrize("chunked", [False, True], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("end", ENDS, ids=repr)
async def test_no_end_but_one(end: bytes, chunked: bool, bare_newlines: BareNewlines, protocol: Protocol) -> None:
    """Whole, cut at each octet of what a server may take for the end, and with the right message behind it."""
    text = smuggling(end)
    at = text.index(end + SMUGGLED)
    bytewise = tuple(range(at - 1, at + len(end) + 2))
    said = await exchange(
        protocol, bare_newlines, [Sent(text, chunked), Sent(text, chunked, bytewise), Sent(b"a: b\r\n")]
    )
    assert said[-1].startswith(b"250 ")
    if bare_newlines is BareNewlines.REJECT:
        assert all(each.startswith(b"550 5.6.0 ") for each in said[:2])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_right_end_in_chunks_is_text(protocol: Protocol) -> None:
    """A chunk may hold all that ends DATA: it is stuffed for a backend that gets it by DATA."""
    text = smuggling(b"\r\n.\r\n")
    at = text.index(b"\r\n.\r\n")
    sents = [Sent(text, chunked=True, cuts=(at + cut,)) for cut in range(6)]
    said = await exchange(protocol, BareNewlines.REJECT, sents)
    assert said == [b"250 2.0.0 Queued"] * 6


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_right_end_in_any_pieces(protocol: Protocol) -> None:
    """cases.md D9."""
    text = b"a: b\r\n\r\nhello"
    sents = [Sent(text, cuts=tuple(range(len(text) + 5)))]
    sents += [Sent(text, cuts=(len(text) + cut,)) for cut in range(5)]
    assert await exchange(protocol, BareNewlines.REJECT, sents) == [b"250 2.0.0 Queued"] * 6


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_message_behind_another_in_one_segment(protocol: Protocol) -> None:
    """A client's own commands behind its own end are no smuggling: two were sent, two accepted, two arrive."""
    async with sending(protocol, BareNewlines.REJECT) as session:
        commands = MAIL + b"\r\n" + RCPT + b"\r\nDATA\r\n"
        assert (await session.send(Sent(b"a: 1"))).startswith(b"250 ")
        await session.client.send(commands + b"a: 2\r\n.\r\n" + commands + b"a: 3\r\n.\r\n")
        codes = [(await session.client.reply())[:3] for _ in range(8)]
        assert codes == [b"250", b"250", b"354", b"250"] * 2
    assert [behind_trace(each) for each in session.sloppy.messages] == [b"a: 1\r\n", b"a: 2\r\n", b"a: 3\r\n"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_commands_in_a_refused_chunk_are_none(protocol: Protocol) -> None:
    """cases.md D11: no transaction, no recipient, one that has failed; the chunk is read off all the same."""
    async with sending(protocol, BareNewlines.REJECT) as session:
        ask = session.client.ask
        chunk = b"BDAT %d LAST\r\n%s" % (len(SMUGGLED), SMUGGLED)
        await session.client.send(chunk)
        assert (await session.client.reply()).startswith(b"503 ")
        await ask(MAIL)
        await session.client.send(chunk)
        assert (await session.client.reply()).startswith(b"554 ")
        await session.client.send(chunk)
        assert (await session.client.reply()).startswith(b"503 ")
        assert (await ask(b"RSET")).startswith(b"250 ")
        assert (await session.send(Sent(SMUGGLED, chunked=True))).startswith(b"250 ")
    assert len(session.sloppy.messages) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "bad", [b"-1", b"99999999999999999999999 LAST", b"0x10 LAST", b"LAST", b"", b"5 FIRST"], ids=repr
)
async def test_behind_a_chunk_of_unknown_size_nothing_is_read(protocol: Protocol, bad: bytes) -> None:
    """cases.md D11: where it ends is anybody's guess, so the connection does."""
    async with sending(protocol, BareNewlines.REJECT) as session:
        await session.client.ask(MAIL)
        await session.client.ask(RCPT)
        await session.client.send(b"BDAT " + bad + b"\r\n" + SMUGGLED + b"\r\n.\r\n")
        assert (await session.client.line())[:3] in (b"501", b"552")
        assert (await session.client.line()).startswith(b"421 ")
        assert await session.client.ended()
    assert not session.sloppy.messages


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "behind",
    [b"RSET\r\n", b"EHLO client.example\r\n", b"QUIT\r\n", b"DATA\r\n", b"RCPT TO:<bob@example.org>\r\n"],
    ids=repr,
)
async def test_a_message_that_is_half_in_chunks_never_stands(protocol: Protocol, behind: bytes) -> None:
    """cases.md D11: what comes instead of the last chunk ends it no more than a lost connection does."""
    async with sending(protocol, BareNewlines.REJECT) as session:
        await session.client.ask(MAIL)
        await session.client.ask(RCPT)
        await session.client.send(b"BDAT 8\r\na: b\r\n\r\n")
        assert (await session.client.reply()).startswith(b"250 ")
        await session.client.send(behind)
        await session.client.reply()
    assert not session.sloppy.messages
