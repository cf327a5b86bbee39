"""Drives a dialogue with a client, and holds it to what is promised of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import cycle
from unittest import mock

from fuzz.choices import Choices, cut, lines
from tlsgate.dialogue.access_token import TokenAdvice
from tlsgate.dialogue.events import (
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Close,
    Ending,
    Granted,
    LocalProtocolError,
    NeedData,
    Offer,
    Refusal,
    Refused,
    SecretNeeded,
    StartTls,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.imap_syntax import Literal
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.sasl import MECHANISMS, Connection
from tlsgate.dialogue.scram_secret import from_password
from tlsgate.dialogue.smtp import MessageRules, Smtp
from tlsgate.dialogue.smtp_events import Body, Data, EndOfData, Mail, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.submission import Submission

Dialogue = Imap | Pop3 | Submission | Mx
Log = list[tuple[str, object]]

BOUNDS = Bounds(line_length=300, bad_commands=6, auth_attempts=4, commands=40)
_OFFER = Offer("mail.example.org", tuple(MECHANISMS), ("IDLE", "UIDPLUS", "SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN"))
_CONNECTION = Connection(bytes(32), "carol", TokenAdvice("mail", "https://issuer.example/"))
_RULES = MessageRules(200, 3)
_SECRET = from_password("pencil", b"salt", 4096)
_CODES = (250, 250, 250, 354, 451, 550, 421)
_REFUSALS = tuple(Refusal)
# The ends of who doesn't wait for an answer: commands behind STARTTLS, a body behind a DATA that is refused.
_HASTY = (Ending.STARTTLS_INJECTION, Ending.BAD_COMMANDS)
_LINE_ENDS = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_LINE = {
    Imap: re.compile(rb"(?:\*|\+|[!-~]{1,64}) [ -~]*"),
    Pop3: re.compile(rb"(?:\+OK|-ERR|\+ )[ -~]*|[A-Z][ -~]*|\."),
    Submission: re.compile(rb"[2-5]\d\d[ -][ -~]*"),
    Mx: re.compile(rb"[2-5]\d\d[ -][ -~]*"),
}


def dialogue_of(
    kind: type[Dialogue], channel: Channel, bounds: Bounds = BOUNDS, *, normalize: bool = False
) -> Dialogue:
    rules = MessageRules(_RULES.size, _RULES.recipients, normalize=normalize)
    if kind is Mx:
        return Mx(_OFFER, channel, bounds, rules)
    if kind is Submission:
        return Submission(_OFFER, channel, bounds, rules, _CONNECTION)
    return Imap(_OFFER, channel, bounds, _CONNECTION) if kind is Imap else Pop3(_OFFER, channel, bounds, _CONNECTION)


class Client:
    """``log``: what has happened, whatever pieces the octets came in. ``over``: nothing more may come.

    ``verdicts``: octets that decide how the events are answered.
    """

    def __init__(self, kind: type[Dialogue], channel: Channel, verdicts: bytes, *, normalize: bool = False) -> None:
        self.dialogue = dialogue_of(kind, channel, normalize=normalize)
        self.log: Log = []
        self._body = b""
        self.over = False
        self._line = _LINE[kind]
        self._channel = channel
        self._verdicts: Iterator[int] = cycle(verdicts or b"\0")
        self._said(self.dialogue.greeting())

    def receive(self, data: bytes) -> None:
        """Take octets, and all events that come of them."""
        self.dialogue.receive(data)
        for _ in range(3 * len(data) + 20):
            event = self.dialogue.next_event()
            if isinstance(event, NeedData):
                assert self._held() <= BOUNDS.line_length
                return
            self._answer(event)
            if self.over:
                return
        raise AssertionError("events without end")

    def _held(self) -> int:
        """Octets that wait for more."""
        parts = self.dialogue._pieces if isinstance(self.dialogue, Imap) else []
        return len(self.dialogue._buffer) + sum(len(each.data if isinstance(each, Literal) else each) for each in parts)

    def _answer(self, event: object) -> None:
        match event:
            case Authenticate() | SecretNeeded():
                assert self._channel is Channel.ENCRYPTED
                self.log.append(("event", event))
                self._said(self._judge(event))
            case Mail() | Rcpt() | Data() | EndOfData():
                assert isinstance(self.dialogue, Smtp)
                if isinstance(event, EndOfData) and not event.fault:
                    assert not _LINE_ENDS.search(self._body)
                    self.log.append(("body", self._body))
                self._body = b""
                self.log.append(("event", event))
                code = _CODES[next(self._verdicts) % len(_CODES)]
                if code < 400:
                    code = 354 if isinstance(event, Data) else 250
                if said := self.dialogue.answer(SmtpReply(code, ("ok",))):
                    self._said(said)
            case Body(data):
                self._body += data  # how much is passed on of a message with a fault is up to the pieces
            case CleartextAuthRefused(data) | AuthRejected(data):
                assert isinstance(event, AuthRejected) is (self._channel is Channel.ENCRYPTED)
                self.log.append(("event", type(event)))
                self._said(data)
            case StartTls(data) | Close(data):
                self.log.append(("event", event))
                self._said(data)
                self._ended()
            case _:
                self._said(getattr(event, "data", b""))
        if self.dialogue.state.name in ("GRANTED", "CLOSED"):
            self._ended()

    def _judge(self, event: Authenticate | SecretNeeded) -> bytes:
        verdict = next(self._verdicts)
        assert not isinstance(self.dialogue, Mx)
        if isinstance(event, SecretNeeded):
            return self.dialogue.give(_SECRET if verdict & 1 else None)
        return self.dialogue.send(Granted() if verdict % 4 == 3 else Refused(_REFUSALS[verdict % len(_REFUSALS)]))

    def _ended(self) -> None:
        self.over = True
        try:
            self.dialogue.next_event()
        except LocalProtocolError:
            return
        raise AssertionError("an event behind the end")

    def _said(self, data: bytes) -> None:
        assert data.endswith(b"\r\n")
        for line in data.split(b"\r\n")[:-1]:
            assert self._line.fullmatch(line), line
        before = self.log.pop()[1] if self.log and self.log[-1][0] == "said" else b""
        assert isinstance(before, bytes)
        self.log.append(("said", before + data))


def fuzz_client(kind: type[Dialogue], data: bytes) -> None:
    """However the octets are cut, the same is said and told: also in one piece, but for who hastens."""
    choices = Choices(data)
    channel = choices.one((Channel.ENCRYPTED, Channel.ENCRYPTED, Channel.CLEARTEXT))
    normalize, verdicts, sizes = choices.flag(), choices.some(4), choices.some(4)
    pieces = lines(choices.rest)

    def played(received: Iterable[bytes]) -> Log:
        with mock.patch("tlsgate.dialogue.scram.secrets.token_bytes", bytes):  # else no two runs are alike
            client = Client(kind, channel, verdicts, normalize=normalize)
            for each in received:
                client.receive(each)
                if client.over:
                    break
        return client.log

    by_lines = played(pieces)
    assert played(cut(pieces, sizes)) == by_lines
    in_one = played([choices.rest] * bool(choices.rest))
    assert in_one == by_lines or any(isinstance(event, Close) and event.reason in _HASTY for _, event in in_one)
