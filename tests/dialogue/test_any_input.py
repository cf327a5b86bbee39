"""Whatever comes in, in whatever segments: no dialogue falls over, grows, says what is no line, or tells a secret."""

from __future__ import annotations

import re
from ipaddress import ip_address
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.dialogue import challenge
from tlsgate.dialogue.backend import BackendDialogue, BeginTls, NoLogin, Outcome, Probe, Purpose, SameLogin, Send
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    NEED_DATA,
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Close,
    Granted,
    NeedData,
    Offer,
    Refusal,
    Refused,
    RemoteProtocolError,
    SecretNeeded,
    ServerEvent,
    Shown,
    StartTls,
)
from tlsgate.dialogue.imap import LONGEST_LITERAL, Imap
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.imap_syntax import Literal, escaped
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.proofs import Proven
from tlsgate.dialogue.sasl import EXTERNAL, MECHANISMS, PLUS, SCRAM, Connection
from tlsgate.dialogue.scram_secret import from_password
from tlsgate.dialogue.smtp import MessageRules, Smtp
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_events import Body, Data, EndOfData, Mail, MailEvent, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.submission import Submission

# Begins with what no IMAP tag holds, since a tag is the one thing of a client's that is said again.
SECRET = b'%hunter2"'
_PLAIN = challenge.encode(b"\0alice\0" + SECRET)
TOKEN = "eyJhbGciOiJub25lIn0.hunter2"
_OAUTHBEARER = challenge.encode(b"n,,\x01auth=Bearer " + TOKEN.encode() + b"\x01\x01")
_XOAUTH2 = challenge.encode(b"user=alice\x01auth=Bearer " + TOKEN.encode() + b"\x01\x01")
_SCRAM = challenge.encode(b"n,,n=alice,r=abc")
_PLUS = challenge.encode(b"p=tls-exporter,,n=alice,r=abc")
_CONNECTION = Connection(bytes(32), "carol")
_SCRAM_SECRET = from_password("pencil", b"salt", 4096)
_BOUNDS = Bounds(line_length=200, bad_commands=6, auth_attempts=4, commands=12)
_LINES = {
    "imap": re.compile(rb"(?:\*|\+|[!-~]{1,64}) [ -~]*\r\n"),
    "pop3": re.compile(rb"(?:\+OK|-ERR|\+ )[ -~]*\r\n|[A-Z][ -~]*\r\n|\.\r\n"),
    "smtp": re.compile(rb"[2-5]\d\d[ -][ -~]*\r\n"),
}
_LINES["mx"] = _LINES["smtp"]
_RESPONSES = [_PLAIN, challenge.encode(SECRET), _OAUTHBEARER, _XOAUTH2, _SCRAM, _PLUS, b"AQ=="]
_COMMON = [b"\r\n", b"\n", b"\r", b"\0", b"*\r\n", b"=\r\n", b" ", *(each + b"\r\n" for each in _RESPONSES)]
_AUTH = [
    *(name.encode() for name in MECHANISMS),
    b"EXTERNAL =",
    b"OAUTHBEARER " + _OAUTHBEARER,
    b"XOAUTH2 " + _XOAUTH2,
    SCRAM.encode() + b" " + _SCRAM,
    PLUS.encode() + b" " + _PLUS,
]
_SAID = {
    "imap": [
        b"a STARTTLS\r\n",
        b"b CAPABILITY\r\n",
        b"c ID NIL\r\n",
        b'd ID ("name" {3}\r\n',
        b"e LOGIN {5}\r\n",
        b"f LOGIN {5+}\r\nalice ",
        b"{5+}\r\n",
        b"{999999999999999+}\r\n",
        b'g LOGIN alice "%hunter2\\""\r\n',
        *(b"h AUTHENTICATE " + each + b"\r\n" for each in _AUTH),
        b"j AUTHENTICATE PLAIN " + _PLAIN + b"\r\n",
        b"k NOOP\r\n",
        b"l LOGOUT\r\n",
        b'm ID ( "name" "x" ) \r\n',
    ],
    "pop3": [
        b"STLS\r\n",
        b"CAPA\r\n",
        b"USER alice\r\n",
        b"PASS " + SECRET + b"\r\n",
        b"APOP alice x\r\n",
        b"AUTH\r\n",
        *(b"AUTH " + each + b"\r\n" for each in _AUTH),
        b"AUTH PLAIN " + _PLAIN + b"\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
    ],
    "smtp": [
        b"STARTTLS\r\n",
        b"EHLO client.example\r\n",
        b"HELO client.example\r\n",
        b"EHLO \xcf\xca <\xc3\xbc>\r\n",
        *(b"AUTH " + each + b"\r\n" for each in _AUTH),
        b"AUTH PLAIN " + _PLAIN + b"\r\n",
        b"MAIL FROM:<a@b.example> SIZE=10\r\n",
        b"RCPT TO:<c@d.example>\r\n",
        b"MAIL FROM:a@b.example\r\n",
        b"RCPT TO:<root>\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"BDAT 3 LAST\r\n",
        b"BDAT 4\r\na\r\n.",
        b"BDAT 0\r\n",
        b"BDAT 0 LAST\r\n",
        b"BDAT 99\r\n",
        b"RSET\r\n",
        b"VRFY x\r\n",
        b"QUIT\r\n",
    ],
}
_SAID["mx"] = _SAID["smtp"]
_HEARD = {
    "imap": [
        b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] hi\r\n",
        b"* OK hi\r\n",
        b"* BYE\r\n",
        b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN ID\r\n",
        b"cafe0001 OK [CAPABILITY IMAP4rev1] done\r\n",
        b"cafe0001 OK done\r\n",
        b'cafe0001 NO [LIMIT] %hunter2\\" ' + SECRET + b"\r\n",
        b"cafe0001 BAD " + SECRET + b"\r\n",
        b"+ go\r\n",
        b"* X {3}\r\n",
    ],
    "pop3": [
        b"+OK\r\n",
        b"+OK [XCLIENT]\r\n",
        b"+OK " + SECRET + b"\r\n",
        b"+ \r\n",
        b"-ERR [SYS/TEMP] " + SECRET + b"\r\n",
        b"-ERR " + _PLAIN + b"\r\n",
        b"TOP\r\n",
        b".\r\n",
    ],
    "smtp": [
        b"220 old.example ESMTP\r\n",
        b"250-old.example\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
        b"250-old.example\r\n250 AUTH LOGIN\r\n",
        b"250-old.example\r\n250-XCLIENT ADDR HELO NAME\r\n250 AUTH LOGIN\r\n",
        b"250 ok\r\n",
        b"334 \r\n",
        b"235 ok\r\n",
        b"535 5.7.8 " + SECRET + b"\r\n",
        b"454 4.7.0 " + _PLAIN + b"\r\n",
        b"500 what: " + challenge.encode(SECRET) + b"\r\n",
        b"250-",
    ],
}
_BACKENDS: dict[str, type[BackendDialogue]] = {"imap": ImapBackend, "pop3": Pop3Backend, "smtp": SmtpBackend}

_sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)
_verdicts = st.lists(st.booleans(), max_size=8)
_answers = st.lists(st.sampled_from([250, 250, 354, 421, 451, 550]), max_size=8)


def _input(phrases: list[bytes]) -> st.SearchStrategy[bytes]:
    """Mostly what the protocol has, in any order, with noise between."""
    return st.lists(st.sampled_from([*phrases, *_COMMON]) | st.binary(max_size=30), max_size=24).map(b"".join)


def _segments(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


class Client:
    """Drives our side, and checks everything it says."""

    def __init__(self, protocol: str, channel: Channel, verdicts: list[bool], answers: list[int]) -> None:
        self._protocol = protocol
        self._channel = channel
        self._verdicts, self._answers = iter(verdicts), iter(answers)
        offer = Offer("mail.example.org", tuple(MECHANISMS))
        self.dialogue: Imap | Pop3 | Submission | Mx
        if protocol == "smtp":
            self.dialogue = Submission(offer, channel, _BOUNDS, MessageRules(60, 2), _CONNECTION)
        elif protocol == "mx":
            self.dialogue = Mx(offer, channel, _BOUNDS, MessageRules(60, 2))
        else:
            self.dialogue = (Imap if protocol == "imap" else Pop3)(offer, channel, _BOUNDS, _CONNECTION)
        self._said(self.dialogue.greeting())
        self.over = False

    def receive(self, data: bytes) -> None:
        self.dialogue.receive(data)
        for _ in range(2 * len(data) + 20):
            event = self.dialogue.next_event()
            if event is NEED_DATA:
                assert self.held() <= _BOUNDS.line_length
                return
            self._told(event)
            if self.over:
                return
        pytest.fail("events without end")

    def held(self) -> int:
        """Octets that wait for more, in the buffer and as parts of a command."""
        parts = self.dialogue._pieces if isinstance(self.dialogue, Imap) else []
        return len(self.dialogue._buffer) + sum(len(each.data if isinstance(each, Literal) else each) for each in parts)

    def _told(self, event: ServerEvent | MailEvent | NeedData) -> None:
        assert TOKEN not in repr(event) or isinstance(event, Body)
        match event:
            case Authenticate(mechanism, who):
                assert self._channel is Channel.ENCRYPTED and not isinstance(self.dialogue, Mx)
                # Our nonces are our own: nobody here can have made a proof.
                assert not isinstance(who, Proven) or (mechanism == EXTERNAL and who.user == "carol")
                self._said(self.dialogue.send(Granted()) if next(self._verdicts, False) else self._refused(who))
            case SecretNeeded():
                assert self._channel is Channel.ENCRYPTED and not isinstance(self.dialogue, Mx)
                self._said(self.dialogue.give(_SCRAM_SECRET if next(self._verdicts, False) else None))
            case Mail() | Rcpt() | Data() | EndOfData():
                assert isinstance(self.dialogue, Smtp)
                code = next(self._answers, 250)
                said = self.dialogue.answer(SmtpReply(354 if isinstance(event, Data) and code < 400 else code, ("ok",)))
                assert said or isinstance(event, Data)
                if said:
                    self._said(said)
            case Body(data):
                assert b"\n" not in data.replace(b"\r\n", b"") and b"\r" not in data.replace(b"\r\n", b"")
            case CleartextAuthRefused(data):
                assert self._channel is Channel.CLEARTEXT
                self._said(data)
            case AuthRejected(data):
                assert self._channel is Channel.ENCRYPTED
                self._said(data)
            case StartTls(data) | Close(data):
                self._said(data)
                self.over = True
            case NeedData():
                pytest.fail("not an event")
            case _:
                self._said(event.data)
        self.over = self.over or self.dialogue.state.name in ("GRANTED", "CLOSED")

    def _refused(self, who: Shown) -> bytes:
        assert not isinstance(self.dialogue, Mx)
        return self.dialogue.send(Refused(Refusal.AUTHENTICATION_FAILED))

    def _said(self, data: bytes) -> None:
        assert data.endswith(b"\r\n")
        for line in data.split(b"\r\n")[:-1]:
            assert _LINES[self._protocol].fullmatch(line + b"\r\n"), line
        assert SECRET not in data and TOKEN.encode() not in data
        assert not any(each in data for each in (_PLAIN, challenge.encode(SECRET), _OAUTHBEARER, _XOAUTH2))


@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp", "mx"])
@pytest.mark.parametrize("channel", list(Channel))
@settings(max_examples=300, deadline=None)
@given(st.data(), _sizes, _verdicts, _answers)
def test_our_side(
    protocol: str, channel: Channel, data: st.DataObject, sizes: list[int], verdicts: list[bool], answers: list[int]
) -> None:
    client = Client(protocol, channel, verdicts, answers)
    for piece in _segments(data.draw(_input(_SAID[protocol])), sizes):
        client.receive(piece)
        if client.over:
            return


@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
@pytest.mark.parametrize("starttls", [False, True])
@pytest.mark.parametrize("login", ["same", "probe"])
@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    _sizes,
    st.sampled_from([(), ("SASL PLAIN", "XCLIENT"), ("LOGINDISABLED", "AUTH=PLAIN", "ID")]),
    st.sampled_from([None, ClientFacts(Endpoint(ip_address("2001:db8::7"), 4711), None, helo='a "b" c')]),
)
def test_towards_a_backend(
    protocol: str,
    starttls: bool,
    login: str,
    data: st.DataObject,
    sizes: list[int],
    known: tuple[str, ...],
    client: ClientFacts | None,
) -> None:
    purpose: Purpose = SameLogin(Credentials("alice", SECRET), client) if login == "same" else Probe()
    with mock.patch("tlsgate.dialogue.imap_backend.secrets.token_hex", return_value="cafe0001"):
        dialogue = _BACKENDS[protocol](purpose, starttls=starttls, hostname="mail.example.org", known=known)
        encrypted, told = not starttls, False
        for piece in _segments(data.draw(_input(_HEARD[protocol])), sizes):
            dialogue.receive(piece)
            try:
                while (event := dialogue.next_event()) is not NEED_DATA:
                    match event:
                        case Send(octets):
                            assert octets.endswith(b"\r\n") and octets.count(b"\n") == octets.count(b"\r") == 1
                            told = told or _shows(octets.decode())
                            assert encrypted or not told
                        case BeginTls():
                            assert not encrypted
                            encrypted = True
                        case Outcome(verdict):
                            assert encrypted
                            assert verdict is None or _fit(verdict.text, told)
                            return
            except RemoteProtocolError as error:
                assert _fit(str(error), told)
                return
            assert len(dialogue._buffer) <= 16384


def _shows(text: str) -> bool:
    forms = (SECRET, escaped(SECRET), _PLAIN, challenge.encode(SECRET))
    return any(form.decode() in text for form in forms)


def _fit(text: str, told: bool) -> bool:
    """Whether a text is fit for a client and the log; what quotes a secret that was never ``told`` shows nothing."""
    return all(" " <= character <= "~" for character in text) and not (told and _shows(text))


def test_literals_are_within_the_line() -> None:
    """The bound of memory is the line's: a literal may be as long as a secret, and counts."""
    client = Client("imap", Channel.ENCRYPTED, [], [])
    client.receive(b"a LOGIN {%d+}\r\n" % LONGEST_LITERAL)
    assert client.over


def test_a_backend_that_needs_no_login_is_sent_none() -> None:
    dialogue = SmtpBackend(NoLogin(), starttls=False, hostname="mail.example.org")
    sent = b""
    for said in (b"220 hi\r\n", b"250-hi\r\n250 AUTH PLAIN\r\n"):
        dialogue.receive(said)
        while (event := dialogue.next_event()) is not NEED_DATA and not isinstance(event, Outcome):
            assert isinstance(event, Send)
            sent += event.data
    assert sent == b"EHLO mail.example.org\r\n"
