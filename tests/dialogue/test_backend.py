"""What the backend-side dialogues have in common: what comes behind a login, and whose words are passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.backend import BackendDialogue, Outcome, SameLogin, Send, plain_response, refusal
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import NEED_DATA, Granted, Refusal, Refused, RemoteProtocolError
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.pop3_backend import Pop3Backend


def _ended(dialogue: BackendDialogue) -> bool:
    while (event := dialogue.next_event()) is not NEED_DATA:
        if isinstance(event, Outcome):
            return True
    return False


def _pop3(secret: bytes) -> Pop3Backend:
    """A dialogue that has sent the secret."""
    dialogue = Pop3Backend(SameLogin(Credentials("alice", secret)), starttls=False, hostname="mail.example.org")
    for said in (b"+OK hi\r\n", b"+OK\r\n"):
        dialogue.receive(said)
        assert not _ended(dialogue)
    return dialogue


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_what_comes_behind_a_login_is_handed_over(behind: bytes, later: bytes) -> None:
    """Once, in order and as it came: it is the client's."""
    dialogue = _pop3(b"pw")
    dialogue.receive(b"+OK in\r\n" + behind)
    assert _ended(dialogue)
    dialogue.receive(later)
    assert dialogue.handover() == behind + later
    assert dialogue.handover() == b""


def test_the_same_for_imap() -> None:
    dialogue = ImapBackend(SameLogin(Credentials("alice", b"pw")), starttls=False, hostname="mail.example.org")
    dialogue.receive(b"* OK hi\r\n")
    sent = dialogue.next_event()
    assert isinstance(sent, Send)
    dialogue.receive(sent.data.split(b" ")[0] + b" OK in\r\n* 1 EXISTS\r\n* ")
    assert _ended(dialogue)
    assert dialogue.handover() == b"* 1 EXISTS\r\n* "


def test_a_tag_is_never_used_twice() -> None:
    """A backend, or who sits before it, could answer a login that isn't sent yet if the tag could be guessed."""
    tags = set()
    for _ in range(50):
        dialogue = ImapBackend(SameLogin(Credentials("alice", b"pw")), starttls=False, hostname="mail.example.org")
        dialogue.receive(b"* OK hi\r\n")
        sent = dialogue.next_event()
        assert isinstance(sent, Send)
        tags.add(sent.data.split(b" ")[0])
    assert len(tags) == 50


def test_id_and_login_have_tags_of_their_own() -> None:
    """A backend that answers ID twice would grant the login that it hasn't seen yet."""
    client = ClientFacts(None, None, session="Ab3x")
    dialogue = ImapBackend(SameLogin(Credentials("alice", b"pw"), client), starttls=False, hostname="mail.example.org")
    dialogue.receive(b"* OK [CAPABILITY IMAP4rev1 ID] hi\r\n")
    sent = dialogue.next_event()
    assert isinstance(sent, Send)
    assert not _ended(dialogue)
    tag = sent.data.split(b" ")[0]
    dialogue.receive(tag + b" OK done\r\n")
    login = dialogue.next_event()
    assert isinstance(login, Send) and b"LOGIN" in login.data and not login.data.startswith(tag)
    dialogue.receive(tag + b" OK in\r\n")
    with pytest.raises(RemoteProtocolError):
        dialogue.next_event()


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (b"hunter2", b"bad password hunter2"),
        (b"  hunter2 ", b"bad password hunter2."),
        (b'hun"ter2', b'bad: PASS "hun\\"ter2"'),
        (b"hunter2", b"bad: AGFsaWNlAGh1bnRlcjI="),
        (b"hunter2", b"bad: aHVudGVyMg=="),
        (b"hunter2" * 100, b"bad: " + b"hunter2" * 50),
    ],
)
def test_words_that_quote_the_secret_are_left_out(secret: bytes, said: bytes) -> None:
    """They go to the log."""
    dialogue = _pop3(secret)
    dialogue.receive(b"-ERR [SYS/TEMP] " + said + b"\r\n")
    assert dialogue.next_event() == Outcome(Refused(Refusal.UNAVAILABLE), ())


def test_what_the_backend_was_told_stays_known_then() -> None:
    """The outcome without its words is the same outcome."""
    login = SameLogin(Credentials("alice", b"hunter2"), ClientFacts(None, None, session="Ab3x"))
    dialogue = Pop3Backend(login, starttls=False, hostname="mail.example.org", known=("XCLIENT",))
    for said in (b"+OK hi\r\n", b"+OK\r\n", b"+OK\r\n"):
        dialogue.receive(said)
        assert not _ended(dialogue)
    dialogue.receive(b"-ERR bad password hunter2\r\n")
    assert dialogue.next_event() == Outcome(Refused(Refusal.AUTHENTICATION_FAILED), ("XCLIENT",), client_told=True)


def test_other_words_are_passed_on() -> None:
    dialogue = _pop3(b"hunter2")
    dialogue.receive(b"-ERR [SYS/TEMP] come back at noon\r\n")
    assert dialogue.next_event() == Outcome(Refused(Refusal.UNAVAILABLE, "come back at noon"), ())


def test_a_grant_before_the_secret_is_a_lie() -> None:
    refused = Refused(Refusal.LIMIT)
    assert refusal(refused) is refused
    with pytest.raises(RemoteProtocolError):
        refusal(Granted())


def test_plain_names_no_other_identity() -> None:
    """RFC 4616: the identity to act as is left empty; whether one may be given is decided before."""
    assert plain_response(Credentials("jürgen", b"p\xffw", "root")) == b"\0j\xc3\xbcrgen\0p\xffw"
