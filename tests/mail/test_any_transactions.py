"""Any commands of a client, any faults of its backend: what the client was told is what the backend has kept.

A message that was accepted is kept once, for the recipients that were accepted and no other; one that was not is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gate import Client, gate, limits, pool_of
from tests.legacy_server import Gone, LegacyServer, Talk, behind_trace
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(120)

_PATIENCE = 20.0  # seconds for a whole session, which takes some milliseconds
_BODY = b"a: b\r\n\r\n"

Kept = tuple[bytes, tuple[bytes, ...], bytes]
"""Sender, recipients, message."""


@dataclass
class Faulty:
    """A backend that keeps to RFC 5321 but for what ``plan`` says of its next replies: an octet each, "" for no more.

    ``pipelining``: whether it offers that. ``wrong``: commands out of their order; a recipient behind a sender that
    was refused is none, as it may have been on its way.
    """

    pipelining: bool
    plan: str = ""
    kept: list[Kept] = field(default_factory=list)
    wrong: list[bytes] = field(default_factory=list)

    async def __call__(self, talk: Talk) -> None:
        await self._reply(talk, b"220 faulty ESMTP")
        refused = False
        sender = b""
        recipients: list[bytes] = []
        while True:
            line = await talk.line()
            match line[:4].upper():
                case b"EHLO":
                    await talk.say(b"250-faulty\r\n" + b"250-PIPELINING\r\n" * self.pipelining + b"250 AUTH PLAIN\r\n")
                case b"AUTH":
                    await talk.say(b"235 2.7.0 Ok\r\n")
                case b"MAIL":
                    self._expect(not sender, line)
                    refused = not await self._reply(talk, b"250 2.1.0 Ok")
                    sender, recipients = b"" if refused else line[10:], []
                case b"RCPT":
                    self._expect(bool(sender) or refused, line)
                    if not sender:
                        await talk.say(b"503 5.5.1 No sender\r\n")
                    elif await self._reply(talk, b"250 2.1.5 Ok"):
                        recipients.append(line[8:])
                case b"DATA":
                    self._expect(bool(recipients), line)
                    if await self._reply(talk, b"354 Go on"):
                        message = await self._message(talk)
                        if await self._reply(talk, b"250 2.0.0 Queued"):
                            self.kept.append((sender, tuple(recipients), message))
                        sender, recipients = b"", []
                case b"RSET":
                    if await self._reply(talk, b"250 2.0.0 Ok"):
                        sender, recipients = b"", []
                case b"QUIT":
                    return
                case _:
                    self.wrong.append(line)

    def _expect(self, right: bool, line: bytes) -> None:
        if not right:
            self.wrong.append(line)

    async def _reply(self, talk: Talk, usual: bytes) -> bool:
        """Whether the usual was said."""
        fault, self.plan = self.plan[:1], self.plan[1:]
        match fault:
            case "4":
                await talk.say(b"450 4.2.1 Later\r\n")
            case "5":
                await talk.say(b"550 5.7.1 Never\r\n")
            case "d":
                await talk.say(b"421 4.3.2 Going down\r\n")
                raise Gone
            case "x":
                raise Gone
            case "?":
                await talk.say(b"whatever\r\n")
            case "e":
                await talk.say(usual + b"\r\n250 2.0.0 Early\r\n")
                return True
            case _:
                await talk.say(usual + b"\r\n")
                return True
        return False

    async def _message(self, talk: Talk) -> bytes:
        lines = []
        while (line := await talk.line()) != b".":
            lines.append(line + b"\r\n")
        return b"".join(lines)


@dataclass
class Told:
    """A client that goes by its replies. ``accepted``: the messages that it need not send again."""

    client: Client
    accepted: list[Kept] = field(default_factory=list)
    sender: bytes = b""
    recipients: tuple[bytes, ...] = ()
    chunks: bytes = b""

    async def step(self, number: int, command: str) -> bool:
        """Say one command; whether the connection goes on."""
        match command:
            case "MAIL":
                path = b"<s%d@example.org>" % number
                if (said := await self.client.ask(b"MAIL FROM:" + path))[:1] == b"2":
                    self._begin(path)
            case "RCPT":
                path = b"<r%d@example.org>" % number
                if (said := await self.client.ask(b"RCPT TO:" + path))[:1] == b"2":
                    self.recipients += (path,)
            case "MANY":
                paths = [b"<r%d.%d@example.org>" % (number, each) for each in range(3)]
                await self.client.send(b"".join(b"RCPT TO:%s\r\n" % path for path in paths))
                for path in paths:
                    if (said := await self.client.reply())[:1] == b"2":
                        self.recipients += (path,)
            case "DATA":
                if (said := await self.client.ask(b"DATA"))[:3] == b"354":
                    said = await self.client.ask(_BODY + b"%d\r\n." % number)
                    self._over(said, _BODY + b"%d\r\n" % number)
            case "BDAT" | "LAST":
                said = await self._chunk(b"%d\r\n" % number, last=command == "LAST")
            case "RSET":
                said = await self.client.ask(b"RSET")
                self._begin(b"")
            case _:
                said = await self.client.ask(b"EHLO client.example")
                self._begin(b"")
        return said[:3] not in (b"421", b"")

    async def _chunk(self, octets: bytes, last: bool) -> bytes:
        chunk = octets if self.chunks else _BODY + octets
        await self.client.send(b"BDAT %d%s\r\n%s" % (len(chunk), b" LAST" if last else b"", chunk))
        said = await self.client.reply()
        if said[:1] == b"2":
            self.chunks += chunk
            if last:
                self._over(said, self.chunks)
        elif last and self.chunks and said[:3] != b"503":
            self._over(said, b"")
        return said

    def _over(self, said: bytes, message: bytes) -> None:
        if said[:1] == b"2":
            self.accepted.append((self.sender, self.recipients, message))
        self._begin(b"")

    def _begin(self, sender: bytes) -> None:
        self.sender, self.recipients, self.chunks = sender, (), b""


async def exchange(protocol: Protocol, commands: Sequence[str], plan: str, pipelining: bool) -> tuple[Faulty, Told]:
    backend = Faulty(pipelining)
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + _PATIENCE
        server: LegacyServer = await nursery.start(LegacyServer(backend).serve)
        tls = TlsMode.STARTTLS if protocol is Protocol.MX else TlsMode.IMPLICIT
        bounds = limits(bad_commands=1000, recipients=1000)
        async with gate(protocol, tls, pool_of(server.address), bounds, domains=("example.org",)) as running:
            client = await (running.secure() if protocol is Protocol.MX else running.logged_in())
            await client.ask(b"EHLO client.example")
            told = Told(client)
            backend.plan = plan
            for number, command in enumerate(commands):
                if not await told.step(number, command):
                    break
            client.close()
            await running.quiet()
        for talk in server.talks:
            await talk.cut.wait()
        nursery.cancel_scope.cancel()
    assert trio.current_time() < nursery.cancel_scope.deadline, "somebody waits for what never comes"
    return backend, told


# Transactions that come to their end more often than not, and all that may come between.
_WHOLE = st.sampled_from(
    [
        ["MAIL", "RCPT", "DATA"],
        ["MAIL", "MANY", "DATA"],
        ["MAIL", "RCPT", "RCPT", "LAST"],
        ["MAIL", "RCPT", "BDAT", "LAST"],
    ]
)
_ONE = st.sampled_from([["MAIL"], ["RCPT"], ["MANY"], ["DATA"], ["BDAT"], ["LAST"], ["RSET"], ["EHLO"]])
_COMMANDS = st.lists(_WHOLE | _ONE, max_size=10).map(lambda parts: [each for part in parts for each in part])
_PLAN = st.text("....45dxe?", max_size=16)


@pytest.mark.parametrize("protocol", [Protocol.SUBMISSION, Protocol.MX])
@settings(max_examples=100, deadline=None)
@given(commands=_COMMANDS, plan=_PLAN, pipelining=st.booleans())
@example(commands=["MAIL", "RCPT", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "DATA"], plan="", pipelining=False)
@example(commands=["MAIL", "RCPT", "BDAT", "RSET", "MAIL", "RCPT", "DATA"], plan="", pipelining=True)
@example(commands=["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"], plan="..5", pipelining=True)
@example(commands=["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"], plan="...5", pipelining=True)
@example(commands=["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"], plan="....5", pipelining=True)
@example(commands=["MAIL", "RCPT", "DATA"], plan="..e", pipelining=False)
@example(commands=["MAIL", "RCPT", "DATA"], plan="...e", pipelining=False)
@example(commands=["MAIL", "MANY", "DATA"], plan="..e5", pipelining=True)
@example(commands=["MAIL", "RCPT", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA"], plan="...x", pipelining=False)
@example(commands=["MAIL", "MANY", "MANY", "DATA", "RSET", "MAIL", "RCPT", "DATA"], plan="...d", pipelining=True)
@example(commands=["MAIL", "MANY", "MANY", "DATA", "MAIL", "RCPT", "DATA"], plan=".4...5.5", pipelining=True)
def test_told_is_kept(protocol: Protocol, commands: list[str], plan: str, pipelining: bool) -> None:
    backend, told = trio.run(exchange, protocol, commands, plan, pipelining)
    kept = [(sender, recipients, behind_trace(message)) for sender, recipients, message in backend.kept]
    assert kept == told.accepted
    assert not backend.wrong
