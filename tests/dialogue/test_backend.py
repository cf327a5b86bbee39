"""What the backend-side dialogues have in common: what comes behind a login, and whose words are passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue import challenge
from tlsgate.dialogue.backend import BackendDialogue, Outcome, SameLogin, Send, plain_response, refusal
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import NEED_DATA, Granted, Refusal, Refused, RemoteProtocolError
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.smtp_backend import SmtpBackend


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
    """RFC 4616: the identity to act as is left empty, whatever the client has shown; a master's is for us to say."""
    who = Credentials("jürgen", b"p\xffw", "root")
    assert plain_response(SameLogin(who)) == b"\0j\xc3\xbcrgen\0p\xffw"
    assert plain_response(SameLogin(who, act_as="änn")) == b"\xc3\xa4nn\0j\xc3\xbcrgen\0p\xffw"


ACTING = SameLogin(Credentials("root", b"master"), act_as="ann")
PLAIN = challenge.encode(b"ann\0root\0master")


def _play(dialogue: BackendDialogue, *said: bytes) -> list[bytes]:
    """What we send, a list item for each of a backend's answers, its greeting first; TAG is our tag."""
    sent: list[bytes] = []
    for line in said:
        tag = sent[-1].split(b" ")[0] if sent else b""
        dialogue.receive(line.replace(b"TAG", tag))
        while (event := dialogue.next_event()) is not NEED_DATA and not isinstance(event, Outcome):
            assert isinstance(event, Send)
            sent.append(event.data)
    return sent


def _new(backend: type[BackendDialogue], *known: str) -> BackendDialogue:
    return backend(ACTING, starttls=False, hostname="mail.example.org", known=known)


def test_a_master_acts_as_a_user_by_plain_alone() -> None:
    """LOGIN, USER and AUTH LOGIN name one identity: they would open the master's own mailbox."""
    sent = _play(_new(ImapBackend), b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n")
    assert [each.split(b" ", 1)[1] for each in sent] == [b"AUTHENTICATE PLAIN " + PLAIN + b"\r\n"]
    sent = _play(_new(Pop3Backend, "USER", "SASL PLAIN"), b"+OK hi\r\n", b"+ \r\n")
    assert sent == [b"AUTH PLAIN\r\n", PLAIN + b"\r\n"]
    sent = _play(_new(SmtpBackend), b"220 hi\r\n", b"250-hi\r\n250 AUTH LOGIN PLAIN\r\n")
    assert sent[1:] == [b"AUTH PLAIN " + PLAIN + b"\r\n"]


def test_a_backend_that_nobody_has_asked_yet_is_asked_for_plain_first() -> None:
    """After a start the first login comes before the first probe has ended."""
    sent = _play(_new(ImapBackend), b"* OK hi\r\n", b"* CAPABILITY AUTH=PLAIN\r\nTAG OK done\r\n", b"+ \r\n")
    assert [each.split(b" ")[1:] for each in sent] == [[b"CAPABILITY\r\n"], [b"AUTHENTICATE", b"PLAIN\r\n"], []]
    sent = _play(_new(Pop3Backend), b"+OK hi\r\n", b"+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n", b"+ \r\n")
    assert sent == [b"CAPA\r\n", b"AUTH PLAIN\r\n", PLAIN + b"\r\n"]


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (ImapBackend, (b"* OK [CAPABILITY IMAP4rev1] hi\r\n",)),
        (ImapBackend, (b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n",)),
        (Pop3Backend, (b"+OK hi\r\n", b"-ERR what?\r\n")),
        (Pop3Backend, (b"+OK hi\r\n", b"+OK\r\nUSER\r\nSASL LOGIN\r\n.\r\n")),
        (SmtpBackend, (b"220 hi\r\n", b"250-hi\r\n250 AUTH LOGIN\r\n")),
    ],
)
def test_without_plain_no_master_acts_as_a_user(backend: type[BackendDialogue], said: tuple[bytes, ...]) -> None:
    """The operator is told what to change; the master's password isn't shown."""
    dialogue = _new(backend)
    for line in said[:-1]:
        assert b"master" not in b"".join(_play(dialogue, line))
    with pytest.raises(RemoteProtocolError, match=r"no AUTH PLAIN.*master_separator"):
        _play(dialogue, said[-1])


def test_an_echo_of_a_masters_response_is_left_out() -> None:
    """Whom it acts as shifts the base64 of the secret."""
    dialogue = _new(Pop3Backend, "SASL PLAIN")
    _play(dialogue, b"+OK hi\r\n", b"+ \r\n")
    dialogue.receive(b"-ERR [SYS/TEMP] bad: " + PLAIN + b"\r\n")
    assert dialogue.next_event() == Outcome(Refused(Refusal.UNAVAILABLE), ("SASL PLAIN",))
