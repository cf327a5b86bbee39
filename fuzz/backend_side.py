"""Drives a dialogue with a backend, and holds it to what is promised of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from unittest import mock

from fuzz.choices import Choices, cut, lines
from tlsgate.dialogue import challenge
from tlsgate.dialogue.backend import (
    LONGEST_LINE,
    BackendDialogue,
    BeginTls,
    NoLogin,
    Outcome,
    Probe,
    Purpose,
    SameLogin,
    Send,
)
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import LocalProtocolError, NeedData, RemoteProtocolError
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.imap_syntax import escaped
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_reply import SmtpReply

SECRET = b'%hunter2"'
_FORMS = tuple(
    each.decode()
    for each in (
        SECRET,
        escaped(SECRET),
        challenge.encode(SECRET),
        challenge.encode(b"\0alice\0" + SECRET),
        challenge.encode(b"ann\0alice\0" + SECRET),
    )
)
_CLIENT = ClientFacts(Endpoint(ip_address("2001:db8::7"), 4711), None, "Ab3x", helo='a "b" c')
_WHO = Credentials("alice", SECRET)
_PURPOSES: tuple[Purpose, ...] = (
    SameLogin(_WHO),
    SameLogin(_WHO, _CLIENT),
    SameLogin(Credentials("alice b", b"\xff" + SECRET), _CLIENT),
    SameLogin(_WHO, None, "ann"),
    Probe(),
    NoLogin(_CLIENT),
    NoLogin(),
)
_KNOWN: tuple[tuple[str, ...], ...] = ((), ("SASL PLAIN", "XCLIENT"), ("LOGINDISABLED", "AUTH=PLAIN", "ID"), ("USER",))
_TAG = "cafe0001"
_NO_ATOM = re.compile(r"[](){ %*\"\\]")


class Backend:
    """``sent``: what we have said, in order. ``outcome``: how it ended, None while it goes on."""

    def __init__(
        self, kind: type[BackendDialogue], purpose: Purpose, *, starttls: bool, known: tuple[str, ...] = ()
    ) -> None:
        self.dialogue = kind(purpose, starttls=starttls, hostname="mail.example.org", known=known)
        self.sent: list[bytes | BeginTls] = []
        self.outcome: Outcome | str | None = None
        self._encrypted = not starttls
        self._told = False

    def receive(self, data: bytes) -> None:
        """Take octets, and all events that come of them."""
        self.dialogue.receive(data)
        try:
            for _ in range(len(data) + 20):
                event = self.dialogue.next_event()
                if isinstance(event, NeedData):
                    assert len(self.dialogue._buffer) <= LONGEST_LINE
                    return
                self._done(event)
                if self.outcome is not None:
                    return
        except RemoteProtocolError as error:
            self.outcome = str(error)
            assert self._fit(self.outcome)
            self._ended()
            return
        raise AssertionError("events without end")

    def _done(self, event: object) -> None:
        match event:
            case Send(octets):
                assert octets.endswith(b"\r\n")
                assert octets.count(b"\n") == octets.count(b"\r") or b"{" in octets
                self._told = self._told or self._shows(octets.decode("latin-1"))
                assert self._encrypted or not self._told
                self.sent.append(octets)
            case BeginTls():
                assert not self._encrypted
                assert not len(self.dialogue._buffer)
                self._encrypted = True
                self.sent.append(event)
            case Outcome(verdict, capabilities):
                assert self._encrypted
                assert verdict is None or self._fit(verdict.text)
                assert all(self._fit(each) for each in capabilities)
                assert sum(map(len, capabilities)) < 128 * 1024
                if isinstance(self.dialogue, ImapBackend):  # they are shown to clients, where no other sign may stand
                    assert not any(_NO_ATOM.search(each) for each in capabilities)
                self.outcome = event
                self._ended()
            case _:
                raise AssertionError("not an event")

    def _ended(self) -> None:
        try:
            self.dialogue.next_event()
        except LocalProtocolError:
            return
        raise AssertionError("an event behind the end")

    def _shows(self, text: str) -> bool:
        return any(form in text for form in _FORMS)

    def _fit(self, text: str) -> bool:
        """Fit for a client and the log; what quotes a secret that was never told shows nothing."""
        return text.isascii() and (not text or text.isprintable()) and not (self._told and self._shows(text))


def fuzz_backend(kind: type[BackendDialogue], data: bytes) -> None:
    """However the octets of each line are cut, the same is said and done; behind a login, replies are read on."""
    choices = Choices(data)
    purpose = choices.one(_PURPOSES)
    if kind is not SmtpBackend and isinstance(purpose, NoLogin):
        purpose = _PURPOSES[0]
    starttls, known = choices.flag(), choices.one(_KNOWN)
    behind, sizes = choices.some(3), choices.some(4)
    pieces = lines(choices.rest)

    def played(received: Iterable[bytes]) -> tuple[object, ...]:
        with mock.patch(
            "tlsgate.dialogue.imap_backend.secrets.token_hex", return_value=_TAG
        ):  # else no two runs are alike
            backend = Backend(kind, purpose, starttls=starttls, known=known)
            rest = iter(received)
            for each in rest:
                backend.receive(each)
                if backend.outcome is not None:
                    break
        replies: list[SmtpReply | str] = []
        if isinstance(backend.dialogue, SmtpBackend) and isinstance(backend.outcome, Outcome):
            replies = _transaction(backend.dialogue, rest, behind)
        return backend.sent, backend.outcome, replies

    assert played(cut(pieces, sizes)) == played(pieces)
    played([choices.rest] * bool(choices.rest))


def _transaction(dialogue: SmtpBackend, pieces: Iterable[bytes], behind: Sequence[int]) -> list[SmtpReply | str]:
    """The replies to some commands behind a login."""
    replies: list[SmtpReply | str] = []
    try:
        for each in pieces:
            dialogue.receive(each)
            said = dialogue.next_reply(behind[len(replies) % len(behind)] % 3)
            if isinstance(said, SmtpReply):
                assert 200 <= said.code < 600
                assert said.encode().isascii()
                replies.append(said)
    except RemoteProtocolError as error:
        replies.append(str(error))
    return replies
