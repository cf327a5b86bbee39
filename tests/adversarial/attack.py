"""Attacks on a running gateway, over real sockets: a case is a few lines that say what is sent and what must come back.

A script has one step a line, in the escapes of ``tests.dialogue.transcript`` (⏎ ␊ ␍ ␀ \\xNN «text*9» «base64 text»):

==== ================================================================================================
C:   octets from the client, in one segment; lines of C: that follow one another go together
N:   the gateway has read what was sent: the next C: is another segment, and another record
S:   what the gateway must answer: these octets and, up to the next S:, no others
T:   the client does its TLS handshake, and it must stand
F:   the client sends these octets where its ClientHello is due: TLS must fail, and only TLS answer
A:   the number of the alert (RFC 8446 6) that it was, "none" for none
X:   the gateway closes, and has said nothing more
H:   EHLO, which is granted
L:   the usual login, which is granted
Z:   the client is gone: "close" as a process that dies, "reset" by RST
==== ================================================================================================

A script that ends without X:, F: or Z: must leave the session in use: NOOP is answered, and by nothing else before it.

For each case holds, whatever its bytes: a client that was there before is served afterwards, a new one too; each
session tells its end once, and what is counted is back at nothing; the backend has got ``heard`` and nothing else;
of logins exactly ``told`` was told; and no password is in anything that was told.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.dialogue.transcript import octets, shown
from tests.gate import Client, Gate, gate, limits, pool_of
from tests.legacy_server import SECRET, USER, LegacyServer, Script, Smtp, imap, pop3
from tlsgate.config import Protocol, TlsMode

IMAP, POP3, SUBMISSION, MX = Protocol
# Where a case begins: greeted in clear, where the ClientHello is due, or greeted behind the handshake.
CLEAR, HELLO, TLS = "clear", "hello", "tls"
WRONG = "hunter2hunter2"
"""The password that cases send where they send a wrong one: it must be told nowhere."""

# What a backend hears of the usual login there; its tag is any.
IMAP_LOGIN = f'TAG LOGIN "{USER}" "{SECRET}"⏎'
POP3_LOGIN = f"USER {USER}⏎PASS {SECRET}⏎"
SMTP_LOGIN = f"EHLO mail.example.org⏎AUTH PLAIN «base64 ␀{USER}␀{SECRET}»⏎"
LEGACY: dict[Protocol, Script] = {IMAP: imap, POP3: pop3, SUBMISSION: Smtp(), MX: Smtp()}
GREETING = {
    IMAP: b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID %s] mail.example.org ready",
    POP3: b"+OK mail.example.org ready",
    SUBMISSION: b"220 mail.example.org ESMTP ready",
    MX: b"220 mail.example.org ESMTP ready",
}
_OFFERED = {CLEAR: b"STARTTLS LOGINDISABLED", TLS: b"AUTH=PLAIN AUTH=LOGIN"}
_ALIVE = {
    IMAP: (b"z NOOP", b"z OK NOOP completed"),
    POP3: (b"NOOP", b"+OK"),
    SUBMISSION: (b"NOOP", b"250 2.0.0 Ok"),
    MX: (b"NOOP", b"250 2.0.0 Ok"),
}
_TOLD = ("cleartext_auth_refused", "auth_failed", "login_unavailable")
_TAG = re.compile(rb"^[0-9a-f]{8}(?= (?:LOGIN|AUTHENTICATE) )", re.MULTILINE)
_FOLDED = rb"[^\r]*+(?:\r\n[ \t][^\r]*+)*+\r\n"
# What we put at a message's head, once: a field like them that was there before is none of ours.
_OUR_FIELDS = re.compile(
    rb"^(?:Authentication-Results: mail\.example\.org;" + _FOLDED + rb")?Received: from " + _FOLDED, re.MULTILINE
)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """One attack. ``name``: begins with its row. ``begins``: CLEAR (with STARTTLS alone), HELLO or TLS.

    ``ended``: how the session's result and reason begin. ``heard``: all that backends got over the attacker's sessions,
    without our trace fields.
    ``messages``: those that stand there, without them too. ``told``: of logins, in order.
    ``bounds``: limits that differ from the defaults; ``settings``: of the gate; ``backend``: another than the usual.
    """

    name: str
    protocol: Protocol
    begins: str
    script: str
    ended: str = ""
    heard: str = ""
    messages: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    settings: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    backend: Script | None = None

    @property
    def row(self) -> str:
        return self.name.partition("_")[0]

    @property
    def modes(self) -> tuple[TlsMode, ...]:
        """An mx listener has STARTTLS only; whoever begins in clear, too."""
        return (TlsMode.STARTTLS,) if self.begins == CLEAR or self.protocol is MX else tuple(TlsMode)


def each(*cases: Case) -> pytest.MarkDecorator:
    """One test for each case and TLS mode, by names."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases of one name"
    params = [pytest.param(case, tls, id=f"{case.name}-{tls}") for case in cases for tls in case.modes]
    return pytest.mark.parametrize(("case", "tls"), params)


async def carry_out(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    """Attack a gateway in this mode, and look at what has become of it."""
    usual = LEGACY[case.protocol]
    # The neighbour comes first; at an mx listener it needs no backend until it has mail.
    scripts = (usual, case.backend or usual, usual)[case.protocol is MX :]
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve)
    settings = {"domains": ("example.org",), **case.settings}
    async with gate(case.protocol, tls, pool_of(server.address), limits(**case.bounds), **settings) as running:
        try:
            with trio.fail_after(20):
                await _attack(case, running, server)
        finally:
            for client in running.clients:
                client.close()


async def _attack(case: Case, running: Gate, server: LegacyServer) -> None:
    neighbour = await _neighbour(running)
    before = len(server.talks)
    attacker = await _Attacker.at(running, case)
    session = running.trace.sessions[-1]
    for kind, text in steps(case.script):
        await attacker.step(kind, text)
    await attacker.end()
    await _gone(running)
    await _still_served(neighbour, case.protocol)
    await _still_served(await _neighbour(running), case.protocol)
    for client in running.clients:
        client.close()
    await _check_backend(case, server, before)
    await running.quiet()
    told = tuple(_words(name, values) for name, values in session.calls if name in _TOLD)
    assert told == case.told, f"\n got:    {told}\n wanted: {case.told}"
    ended = " ".join(map(str, session.end))
    assert ended.startswith(case.ended), ended
    assert session.end[0] != "fault", ended
    for each_session in running.trace.sessions:
        assert not _holds(WRONG, repr(each_session.calls))


def steps(script: str) -> list[tuple[str, bytes]]:
    """A script's steps, with neighbouring lines of C: as one. Raises ValueError on a line that is none."""
    found: list[tuple[str, bytes]] = []
    for line in filter(None, map(str.strip, script.splitlines())):
        kind, colon, text = line.partition(":")
        if not colon or kind not in _STEPS:
            raise ValueError(f"no step: {line}")
        data = octets(text.removeprefix(" "))
        if found and kind == found[-1][0] == "C":
            found[-1] = ("C", found[-1][1] + data)
        else:
            found.append((kind, data))
    return found


class _Attacker:
    def __init__(self, client: Client, protocol: Protocol) -> None:
        self._client = client
        self._protocol = protocol
        self._over = False
        self._alert = "none"

    @classmethod
    async def at(cls, running: Gate, case: Case) -> _Attacker:
        """Connected, and where the case begins."""
        if case.begins == TLS:
            return cls(await running.secure(), case.protocol)
        client = await running.connect()
        if running.tls is TlsMode.STARTTLS:
            greeting = GREETING[case.protocol]
            assert await client.line() == (greeting % _OFFERED[CLEAR] if case.protocol is IMAP else greeting)
            if case.begins == HELLO:
                assert (await client.ask(client.speech.starttls)).startswith(client.speech.go)
        return cls(client, case.protocol)

    async def step(self, kind: str, data: bytes) -> None:
        await _STEPS[kind](self, data)

    async def _send(self, data: bytes) -> None:
        await self._client.send(data)

    async def _next_segment(self, _: bytes) -> None:
        await wait_all_tasks_blocked()

    async def _expect(self, data: bytes) -> None:
        assert data.endswith(b"\r\n")
        for line in data[:-2].split(b"\r\n"):
            _same(await self._client.line(), line)

    async def _start_tls(self, _: bytes) -> None:
        await self._client.start_tls()

    async def _fail_tls(self, data: bytes) -> None:
        await self._client.send(data)
        answer = b""
        try:
            while more := await self._client.socket.recv(65536):
                answer += more
        except OSError:
            pass
        while answer:  # records (RFC 8446 5.1) and nothing else
            kind, size = answer[0], int.from_bytes(answer[3:5])
            assert kind in (20, 21, 22, 23), answer
            assert len(answer) >= 5 + size, answer
            if kind == 21:
                self._alert = str(answer[6])
            answer = answer[5 + size :]
        self._over = True

    async def _alerted(self, number: bytes) -> None:
        assert self._alert == number.decode()

    async def _closed(self, _: bytes) -> None:
        assert await self._client.ended()
        self._over = True

    async def _greet(self, _: bytes) -> None:
        assert (await self._client.ask(b"EHLO client.example")).startswith(b"250 ")

    async def _log_in(self, _: bytes) -> None:
        assert (await self._client.log_in()).startswith(self._client.speech.granted)

    async def _leave(self, data: bytes) -> None:
        {b"close": self._client.close, b"reset": self._client.reset}[data]()
        self._over = True

    async def end(self) -> None:
        if not self._over:
            asked, answer = _ALIVE[self._protocol]
            await self._client.send(asked + b"\r\n")
            said = await self._client.line()
            assert said in (answer, b"z OK done NOOP", b"+OK done NOOP"), said
        self._client.close()


_STEPS = {
    "C": _Attacker._send,
    "N": _Attacker._next_segment,
    "S": _Attacker._expect,
    "T": _Attacker._start_tls,
    "F": _Attacker._fail_tls,
    "A": _Attacker._alerted,
    "X": _Attacker._closed,
    "H": _Attacker._greet,
    "L": _Attacker._log_in,
    "Z": _Attacker._leave,
}


async def _check_backend(case: Case, server: LegacyServer, before: int) -> None:
    """What the attacker's sessions have brought there: all talks since but the two neighbours'."""
    talks = server.talks[before : -2 if case.protocol is MX else -1]
    for talk in talks:
        await talk.cut.wait()
    heard = _OUR_FIELDS.sub(b"", b"".join(_TAG.sub(b"TAG", talk.heard) for talk in talks))
    _same(heard, octets(case.heard))
    stand = server.messages[:-2] if case.protocol in (SUBMISSION, MX) else []
    assert all(map(_OUR_FIELDS.match, stand)), stand
    _same(b"|".join(_OUR_FIELDS.sub(b"", each_one) for each_one in stand), b"|".join(map(octets, case.messages)))


def _same(got: bytes, wanted: bytes) -> None:
    assert got == wanted, f"\n got:    {shown(got)}\n wanted: {shown(wanted)}"


async def _neighbour(running: Gate) -> Client:
    if running.protocol is MX:
        client = await running.secure()
        assert (await client.ask(b"EHLO peer.example")).startswith(b"250 ")
        return client
    return await running.logged_in()


async def _still_served(client: Client, protocol: Protocol) -> None:
    if protocol in (IMAP, POP3):
        assert (await client.ask(b"x NOOP")).endswith(b"NOOP")
        return
    for command, code in ((b"MAIL FROM:<ann@example.org>", b"250 "), (b"RCPT TO:<bob@example.org>", b"250 ")):
        assert (await client.ask(command)).startswith(code)
    assert (await client.ask(b"DATA")).startswith(b"354 ")
    assert await client.ask(b"Subject: x\r\n\r\nx\r\n.") == b"250 2.0.0 Queued"


async def _gone(running: Gate) -> None:
    """The attacker's session has ended, and the neighbour's alone is left."""
    while running.door.used > 1:
        running.ended = trio.Event()
        await running.ended.wait()


def _words(name: str, values: tuple[object, ...]) -> str:
    return " ".join([name, *map(str, values)])


def _holds(secret: str, text: str) -> bool:
    """Whether a secret is in a text, as it is or within anybody's base64."""
    raw = secret.encode()
    coded = [base64.b64encode(b"\0" * shift + raw)[shift and 4 : -4].decode() for shift in range(3)]
    return secret in text or any(each_form in text for each_form in coded)
