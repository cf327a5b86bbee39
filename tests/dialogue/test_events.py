"""Misuse of a dialogue is told at once and as our own fault; it never leads to an event or a reply."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tlsgate.dialogue.backend import BeginTls, NoLogin, Outcome, Probe, SameLogin, Send
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    NEED_DATA,
    Authenticate,
    Bounds,
    Channel,
    Close,
    Ending,
    Granted,
    LocalProtocolError,
    Offer,
    Refusal,
    Refused,
    RemoteProtocolError,
    Reply,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.smtp import MessageRules
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_events import Data, EndOfData, Mail, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.submission import Submission

Dialogue = Imap | Pop3 | Submission

_OFFER = Offer("mail.example.org")
_LOGINS = {
    "imap": b"a LOGIN alice pw\r\n",
    "pop3": b"AUTH PLAIN AGFsaWNlAHB3\r\n",
    "smtp": b"EHLO x\r\nAUTH PLAIN AGFsaWNlAHB3\r\n",
}
_PROTOCOLS = [*_LOGINS]
_QUITS = {"imap": b"a LOGOUT\r\n", "pop3": b"QUIT\r\n", "smtp": b"QUIT\r\n"}


def _dialogue(protocol: str, bounds: Bounds | None = None) -> Dialogue:
    bounds = bounds or Bounds()
    if protocol == "smtp":
        return Submission(_OFFER, Channel.ENCRYPTED, bounds, MessageRules(1000, 2))
    return (Imap if protocol == "imap" else Pop3)(_OFFER, Channel.ENCRYPTED, bounds)


def _asking(protocol: str, bounds: Bounds | None = None) -> Dialogue:
    """A dialogue that waits for a verdict."""
    dialogue = _dialogue(protocol, bounds)
    dialogue.receive(_LOGINS[protocol])
    while not isinstance(event := dialogue.next_event(), Authenticate):
        assert event is not NEED_DATA
    return dialogue


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_no_event_while_a_verdict_is_due(protocol: str) -> None:
    """Reading on would answer a pipelined command before the login."""
    dialogue = _asking(protocol)
    with pytest.raises(LocalProtocolError):
        dialogue.next_event()


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_no_verdict_that_was_not_asked_for(protocol: str) -> None:
    """A stray Granted would be a login without credentials."""
    dialogue = _dialogue(protocol)
    with pytest.raises(LocalProtocolError):
        dialogue.send(Granted())
    dialogue = _asking(protocol)
    dialogue.send(Refused(Refusal.AUTHENTICATION_FAILED))
    with pytest.raises(LocalProtocolError):
        dialogue.send(Granted())


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_no_handover_before_the_login_stands(protocol: str) -> None:
    """Octets given away too early would reach a backend as if a logged-in client had sent them."""
    for dialogue in (_dialogue(protocol), _asking(protocol)):
        assert not isinstance(dialogue, Submission)
        with pytest.raises(LocalProtocolError):
            dialogue.handover()


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_no_event_behind_a_granted_login(protocol: str) -> None:
    dialogue = _asking(protocol)
    dialogue.send(Granted())
    with pytest.raises(LocalProtocolError):
        dialogue.next_event()


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_nothing_behind_the_end(protocol: str) -> None:
    dialogue = _dialogue(protocol)
    dialogue.receive(_QUITS[protocol])
    assert isinstance(dialogue.next_event(), Close)
    with pytest.raises(LocalProtocolError):
        dialogue.next_event()
    with pytest.raises(LocalProtocolError):
        dialogue.send(Granted())


@pytest.mark.parametrize("protocol", _PROTOCOLS)
@pytest.mark.parametrize("reason", [Ending.LOGIN_TIMEOUT, Ending.SHUTDOWN, Ending.OVER_CAPACITY])
def test_the_caller_can_end_it_at_any_time(protocol: str, reason: Ending) -> None:
    """Time runs out while a verdict is due too: a line for the client, then nothing more."""
    for dialogue in (_dialogue(protocol), _asking(protocol)):
        said = dialogue.ending(reason)
        assert said.endswith(b"\r\n") and said.count(b"\n") == 1
        assert said.startswith({"imap": b"* BYE ", "pop3": b"-ERR ", "smtp": b"421 "}[protocol])
        with pytest.raises(LocalProtocolError):
            dialogue.next_event()


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_the_last_refusal_leads_to_the_end(protocol: str) -> None:
    dialogue = _asking(protocol, Bounds(auth_attempts=1))
    dialogue.send(Refused(Refusal.AUTHENTICATION_FAILED))
    event = dialogue.next_event()
    assert isinstance(event, Close) and event.reason is Ending.AUTH_ATTEMPTS


@pytest.fixture
def mx() -> Mx:
    return Mx(_OFFER, Channel.CLEARTEXT, Bounds(), MessageRules(1000, 2))


def test_mx_is_over_when_it_is(mx: Mx) -> None:
    """Whatever reason: nothing that came before is answered behind it."""
    mx.receive(b"EHLO x\r\nQUIT\r\nMAIL FROM:<>\r\n")
    assert isinstance(mx.next_event(), Reply)
    assert isinstance(mx.next_event(), Close)
    with pytest.raises(LocalProtocolError):
        mx.next_event()


@pytest.mark.parametrize("reason", [Ending.IDLE_TIMEOUT, Ending.SHUTDOWN, Ending.DNSBL])
def test_mx_can_be_ended_at_any_time(reason: Ending) -> None:
    """In the middle of a chunk too: one line, then nothing more."""
    for said in (b"", b"EHLO x\r\n", b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nBDAT 9\r\nx"):
        dialogue = Mx(_OFFER, Channel.CLEARTEXT, Bounds(), MessageRules(1000, 2))
        dialogue.receive(said)
        while (event := dialogue.next_event()) is not NEED_DATA:
            if isinstance(event, Mail | Rcpt | Data):
                dialogue.answer(SmtpReply(250))
        line = dialogue.ending(reason, "list.example")
        assert re.fullmatch(rb"(?:421|554) [45][ -~]+: list.example\r\n", line)
        with pytest.raises(LocalProtocolError):
            dialogue.next_event()


def test_mx_asks_one_thing_after_another(mx: Mx) -> None:
    """An answer too many, or an event too early, would put a reply in the place of another one."""
    mx.receive(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nBDAT 0 LAST\r\nNOOP\r\n")
    with pytest.raises(LocalProtocolError):
        mx.answer(SmtpReply(250))
    assert isinstance(mx.next_event(), Reply)
    for kind, said in ((Mail, b"250 \r\n"), (Rcpt, b"250 \r\n"), (Data, b""), (EndOfData, b"250 \r\n")):
        assert isinstance(mx.next_event(), kind)
        with pytest.raises(LocalProtocolError):
            mx.next_event()
        assert mx.answer(SmtpReply(250)) == said
        with pytest.raises(LocalProtocolError):
            mx.answer(SmtpReply(250))
    assert mx.next_event() == Reply(b"250 2.0.0 Ok\r\n")


def test_smtp_answers_only_what_was_asked() -> None:
    """An answer too many would put a later command's reply in the place of an earlier one."""
    dialogue = _asking("smtp")
    assert isinstance(dialogue, Submission)
    with pytest.raises(LocalProtocolError):
        dialogue.answer(SmtpReply(250))
    dialogue.send(Granted())
    dialogue.receive(b"MAIL FROM:<a@b.example>\r\n")
    assert isinstance(dialogue.next_event(), Mail)
    with pytest.raises(LocalProtocolError):
        dialogue.next_event()
    dialogue.answer(SmtpReply(250))
    with pytest.raises(LocalProtocolError):
        dialogue.answer(SmtpReply(250))


@pytest.mark.parametrize("new", [ImapBackend, Pop3Backend])
def test_a_login_is_needed_where_mail_is_read(new: Callable[..., ImapBackend | Pop3Backend]) -> None:
    backend = new(NoLogin(), starttls=False, hostname="mail.example.org")
    backend.receive(b"* OK hi\r\n" if new is ImapBackend else b"+OK hi\r\n")
    with pytest.raises(LocalProtocolError):
        backend.next_event()


@pytest.mark.parametrize("new", [ImapBackend, Pop3Backend, SmtpBackend])
def test_a_backend_dialogue_that_failed_gives_nothing_more(
    new: Callable[..., ImapBackend | Pop3Backend | SmtpBackend],
) -> None:
    """What is asked again must not get an outcome that never was."""
    backend = new(SameLogin(Credentials("alice", b"pw")), starttls=False, hostname="mail.example.org")
    backend.receive(b"nonsense\r\n")
    with pytest.raises(RemoteProtocolError):
        backend.next_event()
    for _ in range(2):
        with pytest.raises(LocalProtocolError):
            backend.next_event()


def test_a_backend_dialogue_that_ended_gives_nothing_more() -> None:
    backend = Pop3Backend(Probe(), starttls=True, hostname="mail.example.org")
    told = []
    for said in (b"+OK\r\n", b"+OK\r\n", b"+OK\r\n.\r\n"):
        backend.receive(said)
        while (event := backend.next_event()) is not NEED_DATA:
            told.append(event)
            if isinstance(event, Outcome):
                break
    assert told == [Send(b"STLS\r\n"), BeginTls(), Send(b"CAPA\r\n"), Send(b"QUIT\r\n"), Outcome(None, ())]
    with pytest.raises(LocalProtocolError):
        backend.next_event()


def test_what_is_sent_to_a_backend_is_not_shown() -> None:
    assert "hunter2" not in repr(Send(b"PASS hunter2\r\n"))
    assert "hunter2" not in repr(Authenticate("PLAIN", Credentials("alice", b"hunter2")))
    assert "hunter2" not in repr(SameLogin(Credentials("alice", b"hunter2")))
