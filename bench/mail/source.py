"""An SMTP client that numbers its messages, and knows of each attempt what it was told.

Messages differ in size, in their way (DATA, BDAT in two chunks) and in what they say; what isn't taken is tried again.
"""

from __future__ import annotations

import hashlib
import random
import ssl
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

import trio

from bench.mail.store import HOST

DOMAIN = "example.test"
_LARGEST = 1_000_000
# Of each attempt, a frozen gateway included: RFC 5321's minutes are for other networks than loopback.
_PATIENCE = 60.0
_PAUSE = 0.05
_LINE = 76
_WORDS = hashlib.shake_256(b"numbered messages").hexdigest(_LARGEST // 2).encode()
_TEXT = b"".join(_WORDS[at : at + _LINE] + b"\r\n" for at in range(0, len(_WORDS), _LINE))


class Fate(Enum):
    """What an attempt came to, as far as its client knows."""

    ACCEPTED = "told 250"
    UNCERTAIN = "whole message sent, no 250"  # the reply was lost, or says that the backend is
    BROKEN_OFF = "broken off before the end"
    GIVEN_UP = "given up before the end by the client"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One message of one transaction. ``size``: about what it has, in octets; ``again``: how often it failed."""

    number: int
    size: int
    again: int = 0

    @property
    def recipient(self) -> str:
        """Its address, by which the store's messages are told apart."""
        return f"{self.number}-{self.again}@{DOMAIN}"

    def text(self) -> bytes:
        """The message, whole; its last line says so."""
        head = f"From: <source@{DOMAIN}>\r\nTo: <{self.recipient}>\r\nSubject: {self.number}\r\n\r\n".encode()
        body = _TEXT[: self.size - self.size % (_LINE + 2)]
        return head + b".\r\n..x\r\n" + body + f"END {self.recipient}\r\n".encode()


class _GivenUp(Exception):
    """The client changes its mind."""


class _Refused(Exception):
    """A reply that isn't the one that is needed."""


def unverified() -> ssl.SSLContext:
    """For the sample certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(slots=True)
class Source:
    """``count`` messages in ``sessions`` sessions to ``port``, up to ``per_connection`` a connection.

    ``sizes``: of messages, from and to. ``context``: STARTTLS first, as it says. ``varied``: every third message by
    BDAT, and every tenth is given up before its end at first.
    """

    port: int
    count: int
    sessions: int = 20
    per_connection: int = 5
    sizes: tuple[int, int] = (300, 300_000)
    context: ssl.SSLContext | None = None
    varied: bool = True
    fates: dict[Attempt, Fate] = field(default_factory=dict)
    accepted: int = 0
    _due: deque[Attempt] = field(default_factory=deque)
    _news: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    async def run(self) -> None:
        """Until each number was told 250."""
        least, most = self.sizes
        chance = random.Random(self.count)  # noqa: S311
        sizes = (int(least * (most / least) ** chance.random()) for _ in range(self.count))
        self._due.extend(Attempt(number, size) for number, size in enumerate(sizes))
        async with trio.open_nursery() as nursery:
            for _ in range(self.sessions):
                nursery.start_soon(self._session)

    async def reached(self, count: int) -> None:
        """Until so many were told 250."""
        while self.accepted < count:
            await self._news.park()

    async def _session(self) -> None:
        while self.accepted < self.count:
            if self._due:
                try:
                    with trio.fail_after(_PATIENCE):
                        async with await trio.open_tcp_stream(HOST, self.port) as stream:
                            await self._connection(stream)
                    continue
                except (OSError, trio.BrokenResourceError, _Refused, _GivenUp):
                    pass
            await trio.sleep(_PAUSE)  # the server is away, or others have what is left

    async def _connection(self, stream: trio.SocketStream) -> None:
        wire = _Wire(stream)
        await wire.reply(b"2")
        await wire.ask(f"EHLO source.{DOMAIN}", b"2")
        if self.context is not None:
            await wire.ask("STARTTLS", b"2")
            wire = _Wire(trio.SSLStream(stream, self.context, server_hostname="localhost", https_compatible=True))
            await wire.ask(f"EHLO source.{DOMAIN}", b"2")
        for _ in range(self.per_connection):
            if not self._due:
                break
            await self._attempt(wire, self._due.popleft())
        await wire.ask("QUIT", b"2")

    async def _attempt(self, wire: _Wire, attempt: Attempt) -> None:
        self.fates[attempt] = Fate.BROKEN_OFF
        try:
            await wire.ask(f"MAIL FROM:<source@{DOMAIN}>", b"2")
            await wire.ask(f"RCPT TO:<{attempt.recipient}>", b"2")
            chunked = self.varied and attempt.number % 3 == 0
            await (self._chunks if chunked else self._data)(wire, attempt)
            self.fates[attempt] = Fate.ACCEPTED
            self.accepted += 1
            self._news.unpark_all()
        finally:
            if self.fates[attempt] is not Fate.ACCEPTED:
                self._due.append(replace(attempt, again=attempt.again + 1))

    async def _data(self, wire: _Wire, attempt: Attempt) -> None:
        await wire.ask("DATA", b"3")
        stuffed = attempt.text().replace(b"\r\n.", b"\r\n..")
        await wire.send(stuffed)
        self._give_up(attempt)
        self.fates[attempt] = Fate.UNCERTAIN
        await wire.send(b".\r\n")
        await wire.reply(b"2")

    async def _chunks(self, wire: _Wire, attempt: Attempt) -> None:
        text = attempt.text()
        half = len(text) // 2
        await wire.send(f"BDAT {half}\r\n".encode() + text[:half])
        await wire.reply(b"2")
        if attempt.number % 20:
            self._give_up(attempt)
        await wire.send(f"BDAT {len(text) - half} LAST\r\n".encode() + text[half:-1])
        self._give_up(attempt)
        self.fates[attempt] = Fate.UNCERTAIN
        await wire.send(text[-1:])
        await wire.reply(b"2")

    def _give_up(self, attempt: Attempt) -> None:
        if self.varied and attempt.number % 10 == 0 and not attempt.again:
            self.fates[attempt] = Fate.GIVEN_UP
            raise _GivenUp


class _Wire:
    """Commands and replies."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = bytearray()

    async def ask(self, command: str, wanted: bytes) -> None:
        await self.send(command.encode() + b"\r\n")
        await self.reply(wanted)

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def reply(self, wanted: bytes) -> None:
        """Read a reply whose code begins so. Raises _Refused for another one, BrokenResourceError for the end."""
        while True:
            line, end, rest = bytes(self._received).partition(b"\r\n")
            if not end:
                data = await self._stream.receive_some(65536)
                if not data:
                    raise trio.BrokenResourceError("closed")
                self._received += data
            else:
                self._received[:] = rest
                if line[3:4] != b"-":
                    break
        if not line.startswith(wanted):
            raise _Refused(line.decode(errors="replace"))
