"""The steps of SASL exchanges that dialogues have in common: calls out of turn, and what the caller sees of secrets."""

from __future__ import annotations

import pytest

from tests.dialogue.scram_client import client_final, client_first
from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.challenge import decode, encode
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    NEED_DATA,
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    Close,
    Ending,
    Granted,
    LocalProtocolError,
    Offer,
    Refusal,
    Refused,
    Reply,
    SecretNeeded,
    ServerEvent,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.proofs import Proven
from tlsgate.dialogue.sasl import MECHANISMS, SCRAM, Connection
from tlsgate.dialogue.scram_secret import from_password
from tlsgate.dialogue.smtp import MessageRules
from tlsgate.dialogue.submission import Submission

Dialogue = Imap | Pop3 | Submission

PROTOCOLS = ["imap", "pop3", "smtp"]
TOKEN = b"user=alice\x01auth=Bearer hunter2\x01\x01"
SECRET = from_password("pencil", b"salt of sixteen.", 4096)
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)


def new(protocol: str, bounds: Bounds | None = None) -> Dialogue:
    offer, bounds, connection = Offer("mail.example.org", tuple(MECHANISMS)), bounds or Bounds(), Connection()
    if protocol == "smtp":
        dialogue = Submission(offer, Channel.ENCRYPTED, bounds, MessageRules(1000, 2), connection)
        dialogue.receive(b"EHLO client.example\r\n")
        dialogue.next_event()
        return dialogue
    return (Imap if protocol == "imap" else Pop3)(offer, Channel.ENCRYPTED, bounds, connection)


def begin(dialogue: Dialogue, mechanism: str, initial: bytes | None = None) -> ServerEvent:
    """What comes of the command that begins an exchange."""
    command = b"a AUTHENTICATE" if isinstance(dialogue, Imap) else b"AUTH"
    words = [command, mechanism.encode(), *([] if initial is None else [encode(initial)])]
    dialogue.receive(b" ".join(words) + b"\r\n")
    return event(dialogue)


def event(dialogue: Dialogue) -> ServerEvent:
    told = dialogue.next_event()
    assert isinstance(told, ServerEvent)
    return told


def challenge(data: bytes) -> bytes:
    return decode(data.rstrip(b"\r\n").partition(b" ")[2])


def failed(dialogue: Dialogue) -> Dialogue:
    """A dialogue that waits for the answer to "e=invalid-proof"."""
    begin(dialogue, SCRAM, client_first())
    final = client_final("wrong", challenge(dialogue.give(SECRET)))
    dialogue.receive(encode(final) + b"\r\n")
    assert isinstance(event(dialogue), AuthRejected)
    return dialogue


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_read_while_a_secret_is_due(protocol: str) -> None:
    """The client's next line would be taken for what it is not."""
    dialogue = new(protocol)
    assert begin(dialogue, SCRAM, client_first()) == SecretNeeded(SCRAM, "user")
    dialogue.receive(b"*\r\n")
    with pytest.raises(LocalProtocolError):
        dialogue.next_event()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("verdict", [Granted(), WRONG])
def test_a_wanted_secret_is_no_login_to_judge(protocol: str, verdict: Granted | Refused) -> None:
    """A stray Granted would let in whoever names somebody."""
    dialogue = new(protocol)
    begin(dialogue, SCRAM, client_first())
    with pytest.raises(LocalProtocolError):
        dialogue.send(verdict)
    assert isinstance(challenge(dialogue.give(SECRET)), bytes)
    with pytest.raises(LocalProtocolError):
        dialogue.send(verdict)
    if not isinstance(dialogue, Submission):
        with pytest.raises(LocalProtocolError):
            dialogue.handover()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_secret_that_was_not_asked_for(protocol: str) -> None:
    beside = new(protocol)
    asked = new(protocol)
    begin(asked, SCRAM)
    judged = new(protocol)
    begin(judged, "XOAUTH2", TOKEN)
    given = new(protocol)
    begin(given, SCRAM, client_first())
    given.give(SECRET)
    for dialogue in (beside, asked, judged, given, failed(new(protocol))):
        for secret in (SECRET, None):
            with pytest.raises(LocalProtocolError):
                dialogue.give(secret)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_failure_that_is_told_by_challenge_cannot_be_granted(protocol: str) -> None:
    """The failure stands before the client answers: it has been told to the caller as such."""
    refused = new(protocol)
    begin(refused, "XOAUTH2", TOKEN)
    refused.send(WRONG)
    for dialogue in (refused, failed(new(protocol))):
        with pytest.raises(LocalProtocolError):
            dialogue.send(Granted())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_time_may_run_out_at_every_step(protocol: str) -> None:
    """A client that never answers the challenge, and a source that never gives the secret, end in one line."""
    wanting = new(protocol)
    begin(wanting, SCRAM, client_first())
    for dialogue in (wanting, failed(new(protocol))):
        assert dialogue.ending(Ending.LOGIN_TIMEOUT).count(b"\r\n") == 1
        with pytest.raises(LocalProtocolError):
            dialogue.next_event()
        with pytest.raises(LocalProtocolError):
            dialogue.give(SECRET)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_last_failure_is_answered_before_the_end(protocol: str) -> None:
    """A client that sees the end in the place of the refusal takes a wrong password for a fault of the network."""
    dialogue = failed(new(protocol, Bounds(auth_attempts=1)))
    assert dialogue.next_event() is NEED_DATA
    dialogue.receive(b"\r\n")
    refusal = event(dialogue)
    assert isinstance(refusal, Reply) and b"Authentication failed" in refusal.data
    end = event(dialogue)
    assert isinstance(end, Close) and end.reason is Ending.AUTH_ATTEMPTS


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_what_follows_the_last_response_goes_to_the_backend(protocol: str) -> None:
    """Sent with the empty response in one segment: a command that is lost here is one the client waits for."""
    dialogue = new(protocol)
    begin(dialogue, SCRAM, client_first())
    final = client_final("pencil", challenge(dialogue.give(SECRET)))
    dialogue.receive(encode(final) + b"\r\n\r\nNOOP\r\n")
    assert isinstance(event(dialogue), Reply)
    assert event(dialogue) == Authenticate(SCRAM, Proven("user"))
    dialogue.send(Granted())
    assert not isinstance(dialogue, Submission)
    assert dialogue.handover() == b"NOOP\r\n"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_client_shows_is_not_in_the_text_of_events(protocol: str) -> None:
    """Events are what a traceback or a debug line would print."""
    assert repr(begin(new(protocol), "XOAUTH2", TOKEN)) == repr(Authenticate("XOAUTH2", BearerToken("x", "alice")))
    shown = begin(new(protocol), "PLAIN", b"\0alice\0hunter2")
    assert repr(shown) == repr(Authenticate("PLAIN", Credentials("alice", b"x")))
    for text in (b"hunter2", b"user=alice\x01auth=hunter2\x01\x01", b"user=alice\x01auth=Bearer hunter2 \x01\x01"):
        for mechanism in MECHANISMS:
            dialogue = new(protocol)
            told = begin(dialogue, mechanism, text)
            if (mechanism, text) != ("LOGIN", b"hunter2"):  # that is said to be a name
                assert "hunter2" not in repr(told)
