"""A client that plays a script: what it sends, and what must come back, octet by octet.

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

A script that ends without X:, F: or Z: must leave the session in use: NOOP is answered, and nothing else before it.
"""

from __future__ import annotations

from trio.testing import wait_all_tasks_blocked

from tests.adversarial.case import CLEAR, IMAP, MX, POP3, SUBMISSION, TLS, Case
from tests.dialogue.transcript import octets, shown
from tests.gate import Client
from tlsgate.config import Protocol, TlsMode

_READY = {IMAP: b"] mail.example.org ready", POP3: b"+OK mail.example.org ready"}
_OFFERED = {CLEAR: b"STARTTLS LOGINDISABLED", TLS: b"AUTH=PLAIN AUTH=LOGIN"}
_ALIVE = {
    IMAP: (b"z NOOP", b"z OK NOOP completed"),
    POP3: (b"NOOP", b"+OK"),
    SUBMISSION: (b"NOOP", b"250 2.0.0 Ok"),
    MX: (b"NOOP", b"250 2.0.0 Ok"),
}


def same(got: bytes, wanted: bytes) -> None:
    """Whether two texts are one; else both are shown."""
    assert got == wanted, f"\n got:    {shown(got)}\n wanted: {shown(wanted)}"


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


class Attacker:
    """One client, from its connection on."""

    def __init__(self, client: Client, protocol: Protocol) -> None:
        self._client = client
        self._protocol = protocol
        self._over = False
        self._alert = "none"

    @classmethod
    async def at(cls, client: Client, case: Case, tls: TlsMode) -> Attacker:
        """Bring a client that is connected to where the case begins."""
        if tls is TlsMode.STARTTLS:
            await cls._greeted(client, case, CLEAR)
            if case.begins != CLEAR:
                assert (await client.ask(client.speech.starttls)).startswith(client.speech.go)
        if case.begins == TLS:
            await client.start_tls()
            if tls is TlsMode.IMPLICIT:
                await cls._greeted(client, case, TLS)
        return cls(client, case.protocol)

    @staticmethod
    async def _greeted(client: Client, case: Case, where: str) -> None:
        line = await client.line()
        if case.protocol is IMAP:  # what the backend has may follow in the list
            assert line.startswith(b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID " + _OFFERED[where]), line
        assert line.endswith(_READY.get(case.protocol, b"220 mail.example.org ESMTP ready")), line

    async def step(self, kind: str, data: bytes) -> None:
        await _STEPS[kind](self, data)

    async def _send(self, data: bytes) -> None:
        await self._client.send(data)

    async def _next_segment(self, _: bytes) -> None:
        await wait_all_tasks_blocked()

    async def _expect(self, data: bytes) -> None:
        assert data.endswith(b"\r\n")
        for line in data[:-2].split(b"\r\n"):
            same(await self._client.line(), line)

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
    "C": Attacker._send,
    "N": Attacker._next_segment,
    "S": Attacker._expect,
    "T": Attacker._start_tls,
    "F": Attacker._fail_tls,
    "A": Attacker._alerted,
    "X": Attacker._closed,
    "H": Attacker._greet,
    "L": Attacker._log_in,
    "Z": Attacker._leave,
}
