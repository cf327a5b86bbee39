"""SmtpBackend behind its login: one reply for one command."""

from __future__ import annotations

import pytest

from tlsgate.dialogue.backend import Misconfigured, NoLogin, Outcome
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.events import NEED_DATA, RemoteProtocolError
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_reply import SmtpReply


def _ready() -> SmtpBackend:
    backend = SmtpBackend(NoLogin(), starttls=False, hostname="mail.example.org")
    for said in (b"220 old.example\r\n", b"250 old.example\r\n"):
        backend.receive(said)
        while (event := backend.next_event()) is not NEED_DATA and not isinstance(event, Outcome):
            pass
    return backend


def test_replies_one_by_one() -> None:
    backend = _ready()
    assert backend.next_reply() is NEED_DATA
    for said, code in ((b"250 sender\r\n", 250), (b"550-no\r\n550 such user\r\n", 550)):
        backend.receive(said)
        answer = backend.next_reply()
        assert isinstance(answer, SmtpReply) and answer.code == code
        assert backend.next_reply() is NEED_DATA


@pytest.mark.parametrize("behind", [b"250 2.0.0 queued\r\n", b"2", b"550 no\r\n"])
def test_a_reply_ahead_of_its_command_is_a_fault(behind: bytes) -> None:
    """354 and 250 in one segment: the 250 would be passed on as the answer to a message whose end was never sent."""
    backend = _ready()
    backend.receive(b"354 go ahead\r\n" + behind)
    answer = backend.next_reply()
    assert isinstance(answer, SmtpReply) and answer.code == 354
    with pytest.raises(RemoteProtocolError):
        backend.next_reply()


def test_a_reply_behind_the_login_is_a_fault() -> None:
    backend = SmtpBackend(NoLogin(), starttls=False, hostname="mail.example.org")
    backend.receive(b"220 old.example\r\n")
    while backend.next_event() is not NEED_DATA:
        pass
    backend.receive(b"250 old.example\r\n250 sender ok\r\n")
    assert isinstance(backend.next_event(), Outcome)
    with pytest.raises(RemoteProtocolError):
        backend.next_reply()


def test_a_backend_that_would_trust_us_blindly_is_told_apart() -> None:
    """Nothing that a client does leads here: its operator has to act."""
    backend = SmtpBackend(NoLogin(ClientFacts(None, None)), starttls=False, hostname="mail.example.org")
    backend.receive(b"220 old.example\r\n")
    while backend.next_event() is not NEED_DATA:
        pass
    backend.receive(b"250-old.example\r\n250 AUTH PLAIN\r\n")
    with pytest.raises(Misconfigured):
        backend.next_event()
