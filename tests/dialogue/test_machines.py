"""Conversations that no transcript has: any order of commands, any cuts, any verdicts, on both sides of the gate."""

from __future__ import annotations

import re
from collections import deque
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fuzz.backend_side import Backend
from fuzz.client_side import Dialogue, dialogue_of
from tests.dialogue.test_any_input import _HEARD, _RESPONSES, _SAID, SECRET, TOKEN
from tlsgate.dialogue.authenticating import Awaited
from tlsgate.dialogue.backend import MOST_LINES, BackendDialogue, BeginTls, NoLogin, Outcome, Probe, Purpose, SameLogin
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Close,
    Granted,
    LocalProtocolError,
    NeedData,
    Refusal,
    Refused,
    RemoteProtocolError,
    SecretNeeded,
    StartTls,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.scram_secret import from_password
from tlsgate.dialogue.smtp import Smtp, State
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_events import Abandon, Body, Data, EndOfData, Mail, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.submission import Submission

KINDS: dict[str, type[Dialogue]] = {"imap": Imap, "pop3": Pop3, "smtp": Submission, "mx": Mx}
BACKENDS: dict[str, type[BackendDialogue]] = {"imap": ImapBackend, "pop3": Pop3Backend, "smtp": SmtpBackend}
# One whole reply each, whatever lines it has before that.
_REPLY = {
    "imap": re.compile(rb"^(?!\* (?!BAD)).*\r\n", re.MULTILINE),
    "pop3": re.compile(rb"^(?:\+OK|-ERR|\+ ).*\r\n", re.MULTILINE),
    "smtp": re.compile(rb"^\d\d\d .*\r\n", re.MULTILINE),
}
_REPLY["mx"] = _REPLY["smtp"]
# What has octets behind it that would be taken from the next command, or none at all, or ends more than itself.
_ENDLESS = re.compile(rb"\+\}|BDAT [1-9]|^\.|[^\n]\Z")
# What owes one reply: a line, with the octets of a chunk behind it.
_COMMANDS = {
    # A literal of one octet is shorter than any segment: what comes behind it is always a line.
    name: [re.sub(rb"\{\d\}", b"{1}", each) for each in said if each.count(b"\n") == 1 and not _ENDLESS.search(each)]
    for name, said in _SAID.items()
}
_CHUNKS = [b"BDAT 4\r\na\r\n.", b"BDAT 3 LAST\r\na\r\n"]
_RIGHT = {
    "imap": [
        b"k NOOP\r\n",
        b"b CAPABILITY\r\n",
        b"c ID NIL\r\n",
        b'g LOGIN alice "%hunter2\\""\r\n',
        b"h AUTHENTICATE PLAIN\r\n",
    ],
    "pop3": [b"CAPA\r\n", b"USER alice\r\n", b"PASS " + SECRET + b"\r\n", b"NOOP\r\n", b"AUTH\r\n", b"AUTH LOGIN\r\n"],
    "smtp": [b"EHLO client.example\r\n", b"AUTH PLAIN " + _RESPONSES[0] + b"\r\n", b"NOOP\r\n"],
}
_MAIL = [b"MAIL FROM:<a@b.example> SIZE=10\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n", b"RSET\r\n"]
_RIGHT["smtp"] += [*_CHUNKS, *_MAIL]
_RIGHT["mx"] = [b"EHLO client.example\r\n", *_CHUNKS, *_MAIL]
_SIZES = st.lists(st.sampled_from([10_000, 10_000, 1, 5, 30]), max_size=8)
_NOISE = st.binary(min_size=1, max_size=20).map(lambda data: data.translate(None, b"\n\x16") + b"\r\n")
_SECRET = from_password("pencil", b"salt", 4096)
_BOUNDS = Bounds(line_length=300, bad_commands=10, auth_attempts=4, commands=20)
_SASL_LINES = 4 * _BOUNDS.auth_attempts
_CODES = st.sampled_from([250, 250, 250, 421, 451, 550])


class ClientMachine(RuleBasedStateMachine):
    """A client that says what it likes, in pieces, and a caller that answers events later or at once."""

    protocol = "imap"

    @initialize(
        channel=st.sampled_from([Channel.ENCRYPTED, Channel.ENCRYPTED, Channel.CLEARTEXT]), greets=st.booleans()
    )
    def begin(self, channel: Channel, greets: bool) -> None:
        """``greets``: it begins as clients do."""
        self.channel = channel
        self.dialogue = dialogue_of(KINDS[self.protocol], channel, _BOUNDS)
        assert self.dialogue.greeting().endswith(b"\r\n")
        self.spoken: deque[bytes] = deque()
        self.due: object = None  # an event that waits for its answer
        self.over = self.granted = False
        self.commands = self.owed = self.replies = 0
        if greets:
            self._says(_RIGHT[self.protocol][:2], [10_000] * 2)
            if isinstance(self.due, Authenticate):
                self.judges(True, Refusal.LIMIT)
            for each in _MAIL[:3] if isinstance(self.dialogue, Smtp) else ():
                self._says([each], [10_000])
                if isinstance(self.due, Mail | Rcpt | Data):
                    self.answers(250)

    # -- the client -------------------------------------------------------------------------------------

    @rule(data=st.data(), sizes=_SIZES)
    def says_what_is_right(self, data: st.DataObject, sizes: list[int]) -> None:
        self._says(data.draw(st.lists(st.sampled_from(_RIGHT[self.protocol]), min_size=1, max_size=4)), sizes)

    @rule(data=st.data(), sizes=_SIZES)
    def says_anything(self, data: st.DataObject, sizes: list[int]) -> None:
        self._says(data.draw(st.lists(st.sampled_from(_COMMANDS[self.protocol]), min_size=1, max_size=4)), sizes)

    @rule(said=st.sampled_from([*_RESPONSES, b"*", b"=", b""]).map(lambda each: each + b"\r\n") | _NOISE, sizes=_SIZES)
    def says_something_else(self, said: bytes, sizes: list[int]) -> None:
        self._says([said], sizes)

    def _says(self, said: list[bytes], sizes: list[int]) -> None:
        """Some of it comes in at once, in pieces of these sizes."""
        self.spoken.extend(said)
        for size in sizes:
            if self.spoken and self.due is None and not self.over:
                self._hears(size)

    @rule()
    def is_heard_to_the_end(self) -> None:
        while self.spoken and self.due is None and not self.over:
            self._hears(10_000)

    @precondition(lambda self: self.dialogue.state is State.BODY)
    @rule(text=st.sampled_from([b"text", b"..stuffed", b"bare\ncr", b"nul\0", b"x" * 90, b""]))
    def sends_text(self, text: bytes) -> None:
        self._receive(text + b"\r\n")

    def _hears(self, size: int) -> None:
        if self.dialogue.state is State.BODY:
            self.owed += 1
            self._receive(b"\r\n.\r\n")
            return
        segment = self.spoken.popleft()
        if self.dialogue.state is Awaited.RESPONSE and segment in _CHUNKS:
            return  # which would be a response and a command
        data, rest = segment[:size], segment[size:]
        if rest:
            self.spoken.appendleft(rest)
        else:
            self.owed += 1
            self.commands += not self.granted
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        self.dialogue.receive(data)
        self._events()

    # -- the caller -------------------------------------------------------------------------------------

    @precondition(lambda self: isinstance(self.due, Authenticate))
    @rule(granted=st.booleans(), reason=st.sampled_from(list(Refusal)))
    def judges(self, granted: bool, reason: Refusal) -> None:
        assert not isinstance(self.dialogue, Mx)
        self._answered(self.dialogue.send(Granted() if granted else Refused(reason)))
        self.granted = self.granted or granted

    @precondition(lambda self: isinstance(self.due, SecretNeeded))
    @rule(known=st.booleans())
    def tells_the_secret(self, known: bool) -> None:
        assert not isinstance(self.dialogue, Mx)
        self._answered(self.dialogue.give(_SECRET if known else None))

    @precondition(lambda self: isinstance(self.due, Mail | Rcpt | Data | EndOfData))
    @rule(code=_CODES)
    def answers(self, code: int) -> None:
        assert isinstance(self.dialogue, Smtp)
        if code == 250 and isinstance(self.due, Data):
            code = 354
        self._answered(self.dialogue.answer(SmtpReply(code, ("ok",))))

    @precondition(lambda self: self.due is not None)
    @rule()
    def asks_for_more_before_it_has_answered(self) -> None:
        with pytest.raises(LocalProtocolError):
            self.dialogue.next_event()

    def _answered(self, data: bytes) -> None:
        self.due = None
        self._said(data)
        self._events()

    def _events(self) -> None:
        while self.due is None and not self.over:
            if self.dialogue.state.name in ("GRANTED", "CLOSED"):
                self.over = True
                return
            match self.dialogue.next_event():
                case NeedData():
                    return
                case Authenticate() | SecretNeeded() as event:
                    assert self.channel is Channel.ENCRYPTED, "credentials in clear"
                    self.due = event
                case Mail() | Rcpt() | Data() | EndOfData() as event:
                    self.due = event
                case Body():
                    pass
                case StartTls(data) | Close(data):
                    self._said(data)
                    self.over = True
                case CleartextAuthRefused(data) | AuthRejected(data):
                    self._said(data)
                case Abandon(data) as event:
                    self._said(data)
                case event:
                    self._said(event.data)

    def _said(self, data: bytes) -> None:
        assert SECRET not in data
        assert TOKEN.encode() not in data
        if isinstance(self.dialogue, Smtp) and self.dialogue.state in (State.CHUNK, State.SKIP) and not data:
            return
        self.replies += len(_REPLY[self.protocol].findall(data))

    # -- what always holds ------------------------------------------------------------------------------

    @invariant()
    def each_command_has_one_reply(self) -> None:
        if self.over or self.due is not None:
            return
        assert self.replies == self.owed or (self.replies < self.owed and self.dialogue.state is State.CHUNK)

    @invariant()
    def bounds_end_the_session(self) -> None:
        if not (self.over or self.granted or self.protocol == "mx"):
            assert self.commands <= _BOUNDS.commands + _SASL_LINES
        assert len(self.dialogue._buffer) <= _BOUNDS.line_length or self.over or self.due is not None

    @invariant()
    def nothing_comes_behind_the_end(self) -> None:
        if self.over:
            with pytest.raises(LocalProtocolError):
                self.dialogue.next_event()


class BackendMachine(RuleBasedStateMachine):
    """A backend that says what it likes, in pieces: ``fuzz.backend_side`` holds each step to what is promised."""

    protocol = "imap"

    @initialize(
        purpose=st.sampled_from([SameLogin(Credentials("alice", SECRET)), Probe(), NoLogin()]), starttls=st.booleans()
    )
    def begin(self, purpose: Purpose, starttls: bool) -> None:
        if self.protocol != "smtp" and isinstance(purpose, NoLogin):
            purpose = Probe()
        self.starttls, self.purpose = starttls, purpose
        self.backend = Backend(BACKENDS[self.protocol], purpose, starttls=starttls)
        self.lines = 0
        self.broken = False

    @rule(data=st.data(), cut=st.integers(0, 60))
    def says_a_line(self, data: st.DataObject, cut: int) -> None:
        line = data.draw(st.sampled_from(_HEARD[self.protocol]))
        self._says(line[:cut])
        self._says(line[cut:])

    @rule(noise=_NOISE)
    def says_noise(self, noise: bytes) -> None:
        self._says(noise)

    @precondition(lambda self: self.backend.outcome is None and not self.backend.sent)
    @rule()
    def greets(self) -> None:
        self._says({"imap": b"* OK hi\r\n", "pop3": b"+OK hi\r\n", "smtp": b"220 hi\r\n"}[self.protocol])

    @rule(behind=st.integers(0, 2))
    def is_asked_behind_the_login(self, behind: int) -> None:
        dialogue = self.backend.dialogue
        if not isinstance(dialogue, SmtpBackend) or not isinstance(self.backend.outcome, Outcome) or self.broken:
            return
        try:
            said = dialogue.next_reply(behind)
        except RemoteProtocolError:
            self.broken = True
            return
        if isinstance(said, SmtpReply) and not behind and len(dialogue._buffer):
            with pytest.raises(RemoteProtocolError):  # that was said before it was asked
                dialogue.next_reply()
            self.broken = True

    def _says(self, data: bytes) -> None:
        if not data:
            return
        self.lines += data.count(b"\n")
        if self.backend.outcome is None:
            self.backend.receive(data)
        else:
            self.backend.dialogue.receive(data)

    @invariant()
    def tls_comes_once_and_first_where_it_is_asked_for(self) -> None:
        begun = self.backend.sent.count(BeginTls())
        assert begun <= self.starttls
        if isinstance(self.backend.outcome, Outcome):
            assert begun == self.starttls

    @invariant()
    def nobody_is_let_in_who_did_not_ask(self) -> None:
        if isinstance(self.backend.outcome, Outcome) and isinstance(self.purpose, Probe):
            assert self.backend.outcome.verdict is None

    @invariant()
    def a_flood_of_lines_ends_it(self) -> None:
        assert self.backend.outcome is not None or self.lines <= MOST_LINES


@pytest.mark.parametrize("protocol", KINDS)
def test_any_client(protocol: str) -> None:
    machine = type("Machine", (ClientMachine,), {"protocol": protocol})
    run_state_machine_as_test(machine, settings=settings(max_examples=100, stateful_step_count=60, deadline=None))


@pytest.mark.parametrize("protocol", BACKENDS)
def test_any_backend(protocol: str) -> None:
    machine = type("Machine", (BackendMachine,), {"protocol": protocol})
    with mock.patch("tlsgate.dialogue.imap_backend.secrets.token_hex", return_value="cafe0001"):
        run_state_machine_as_test(machine, settings=settings(max_examples=100, stateful_step_count=40, deadline=None))
