"""Backends that do as they should up to a chosen step, and there what they shouldn't."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from tests.gate import BackendRecords, authority
from tests.legacy_server import Gone, Script, Talk
from tlsgate import config
from tlsgate.backends.pool import Pool
from tlsgate.config import Address, BackendTls, ClientAddress, LoginMode, Protocol

GIB = 1 << 30
END_OF_DATA = b"\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class Course:
    """A backend's half of a conversation that goes well.

    ``says``: its greeting, then its answer to each line; TAG stands for the line's tag. ``granted``: the step by which
    the login stands. ``told``: the first step that answers the secret. ``tls``: how it is secured, from step
    ``tls_at`` on.
    """

    protocol: Protocol
    says: tuple[bytes, ...]
    told: int
    granted: int
    tls: BackendTls = BackendTls.NONE
    tls_at: int = -1
    client_address: ClientAddress = ClientAddress.NONE

    @property
    def blamed(self) -> int:
        """Up to which step a lost connection can't be the doing of a client: the first answer to its login."""
        return max(self.tls_at, 1)

    def pool(self, *addresses: Address) -> Pool:
        """Backends of this kind, tried in the order given."""
        backends = tuple(
            config.Backend(address=address, tls=self.tls, verify=False, priority=at)
            for at, address in enumerate(addresses)
        )
        mode = LoginMode.NONE if self.protocol is Protocol.MX else LoginMode.SAME
        settings = config.Pool(backends=backends, login=mode, client_address=self.client_address)
        return Pool("pool", settings, lambda _pool, _address: BackendRecords(), connections=1000)


_MAIL = (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 2.0.0 queued\r\n")
_STARTTLS, _IMPLICIT = BackendTls.STARTTLS, BackendTls.IMPLICIT
COURSES = {
    "imap login": Course(Protocol.IMAP, (b"* OK hi\r\n", b"TAG OK in\r\n"), 1, 1),
    "imap authenticate": Course(
        Protocol.IMAP,
        (b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] hi\r\n", b"+ \r\n", b"TAG OK in\r\n"),
        2,
        2,
    ),
    "imap id": Course(
        Protocol.IMAP,
        (b"* OK [CAPABILITY IMAP4rev1 ID] hi\r\n", b"* ID NIL\r\nTAG OK done\r\n", b"TAG OK in\r\n"),
        2,
        2,
        client_address=ClientAddress.IMAP_ID,
    ),
    "imap starttls": Course(
        Protocol.IMAP,
        (b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nTAG OK\r\n", b"TAG OK go\r\n", b"TAG OK in\r\n"),
        3,
        3,
        _STARTTLS,
        3,
    ),
    "imap implicit": Course(Protocol.IMAP, (b"* OK hi\r\n", b"TAG OK in\r\n"), 1, 1, _IMPLICIT, 0),
    "pop3 user": Course(Protocol.POP3, (b"+OK hi\r\n", b"+OK\r\n", b"+OK in\r\n"), 2, 2),
    "pop3 xclient": Course(
        Protocol.POP3,
        (b"+OK [XCLIENT] hi\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK in\r\n"),
        3,
        3,
        client_address=ClientAddress.XCLIENT,
    ),
    "pop3 stls": Course(Protocol.POP3, (b"+OK hi\r\n", b"+OK go\r\n", b"+OK\r\n", b"+OK in\r\n"), 3, 3, _STARTTLS, 2),
    "smtp plain": Course(
        Protocol.SUBMISSION, (b"220 hi\r\n", b"250-hi\r\n250 AUTH PLAIN\r\n", b"235 in\r\n", *_MAIL), 2, 2
    ),
    "smtp login": Course(
        Protocol.SUBMISSION,
        (b"220 hi\r\n", b"250-hi\r\n250 AUTH LOGIN\r\n", b"334 \r\n", b"334 \r\n", b"235 in\r\n", *_MAIL),
        4,
        4,
    ),
    "smtp starttls": Course(
        Protocol.SUBMISSION,
        (
            b"220 hi\r\n",
            b"250-hi\r\n250 STARTTLS\r\n",
            b"220 go\r\n",
            b"250-hi\r\n250 AUTH PLAIN\r\n",
            b"235 in\r\n",
            *_MAIL,
        ),
        4,
        4,
        _STARTTLS,
        3,
    ),
    "mx": Course(Protocol.MX, (b"220 hi\r\n", b"250 hi\r\n", *_MAIL), 99, 1),
    "mx xclient": Course(
        Protocol.MX,
        (b"220 hi\r\n", b"250-hi\r\n250 XCLIENT ADDR PORT\r\n", b"220 hi\r\n", b"250 hi\r\n", *_MAIL),
        99,
        3,
        client_address=ClientAddress.XCLIENT,
    ),
}

Deed = Callable[[Talk, bytes], Awaitable[None]]
"""What a backend does in the place of the right answer, which it is given."""


@functools.cache
def backend_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("legacy.example.net").configure_cert(context)
    return context


def playing(course: Course, step: int = -1, deed: Deed | bytes = b"") -> Script:
    """The course up to ``step``, where ``deed`` is done or said; if that ends, what follows in the course."""

    async def script(talk: Talk) -> None:
        tag = before = b""
        for number, answer in enumerate(course.says):
            if number == course.tls_at:
                await talk.start_tls(backend_tls())
            if number and before.startswith(b"354"):
                await talk.until((END_OF_DATA,))
            elif number:
                line = await talk.line()
                tag = line.split(b" ")[0] if b" " in line else tag
            before = answer
            if number == step and isinstance(deed, bytes):
                answer = deed
            said = answer.replace(b"TAG", tag)
            if number == step and not isinstance(deed, bytes):
                await deed(talk, said)
            else:
                await talk.say(said)
        await talk.silence()

    return script


async def closes(talk: Talk, _answer: bytes) -> None:
    raise Gone


async def closes_mid_line(talk: Talk, answer: bytes) -> None:
    await talk.say(answer[:-3])
    raise Gone


async def resets(talk: Talk, _answer: bytes) -> None:
    talk.reset()
    raise Gone


async def resets_mid_line(talk: Talk, answer: bytes) -> None:
    await talk.say(answer[:-3])
    talk.reset()
    raise Gone


async def speaks_another_protocol(talk: Talk, _answer: bytes) -> None:
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await talk.silence()


async def sends_only_nul(talk: Talk, _answer: bytes) -> None:
    await talk.say(b"\0" * 100 + b"\r\n")
    await talk.silence()


class Flood:
    """Sends ``block`` for ever, or 1 GiB of it, behind the right answer's first octets. ``sent``: octets so far."""

    def __init__(self, block: bytes, keeps: int = 0) -> None:
        self._block, self._keeps = block * (65536 // len(block)), keeps
        self.sent = 0

    async def __call__(self, talk: Talk, answer: bytes) -> None:
        await talk.say(answer[: self._keeps])
        while self.sent < GIB:
            await talk.say(self._block)
            self.sent += len(self._block)

    async def stopped(self) -> None:
        """Wait until it has begun, and nobody takes more of it for a moment."""
        before = -1
        while before != self.sent or not self.sent:
            before = self.sent
            await trio.sleep(0.3)


def dripping(course: Course, step: int, pause: float) -> Script:
    """From ``step`` on an octet every ``pause`` seconds, in an answer that has no end."""

    async def drips(talk: Talk, answer: bytes) -> None:
        await talk.say(answer[:3])
        while True:
            await trio.sleep(pause)
            await talk.say(b"-")

    return playing(course, step, drips)
