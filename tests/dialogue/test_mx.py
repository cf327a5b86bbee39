"""Every command in every state of a session with another server.

What comes of a command depends on what came before it and on nothing else: not on segments. Transcripts show what is
said; this shows that nothing falls over, and that nobody gets mail in who must not.
"""

from __future__ import annotations

import re
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialogue.mx_client import Told, send
from tlsgate.dialogue.events import (
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Close,
    Offer,
    Reply,
    StartTls,
)
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.smtp import MessageRules, State
from tlsgate.dialogue.smtp_events import Abandon, Body, Data, EndOfData, Mail, Rcpt

_ENVELOPE = [b"EHLO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n"]
# What leads to each state in which something may come.
_STATES = {
    "start": [],
    "ready": _ENVELOPE[:1],
    "helo": [b"HELO x\r\n"],
    "mail": _ENVELOPE[:2],
    "rcpt": _ENVELOPE,
    "begun": [*_ENVELOPE, b"BDAT 3\r\na\r\n"],
    "failed": [*_ENVELOPE[:2], b"BDAT 3\r\na\r\n"],
    "taken": [*_ENVELOPE, b"BDAT 3 LAST\r\na\r\n"],
}
_COMMANDS = [
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<a@b.example> SIZE=999999\r\n",
    b"MAIL nonsense\r\n",
    b"RCPT TO:<c@d.example>\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"RCPT nonsense\r\n",
    b"DATA\r\n",
    b"DATA now\r\n",
    b"BDAT 6\r\nQUIT\r\n",
    b"BDAT 6 LAST\r\nQUIT\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 0\r\n",
    b"BDAT x\r\n",
    b"BDAT 99999\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"HELP\r\n",
    b"VRFY x\r\n",
    b"EXPN x\r\n",
    b"ETRN x\r\n",
    b"TURN\r\n",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN AGFsaWNlAHB3\r\n",
    b"AUTH LOGIN\r\n",
    b"XCLIENT ADDR=127.0.0.1\r\n",
    b"XFORWARD ADDR=127.0.0.1\r\n",
    b"PROXY UNKNOWN\r\n",
    b"XYZZY\r\n",
    b"\r\n",
    b"NOOP\n",
    b"\0\r\n",
]
# Half of them lead to a message.
_commands = st.sampled_from(_COMMANDS) | st.sampled_from(_ENVELOPE)
_REPLY = re.compile(rb"(?:\d\d\d-[ -~]*\r\n)*\d\d\d [ -~]*\r\n")


class _Session:
    """A client that waits for each reply."""

    def __init__(self, channel: Channel, *, require_tls: bool = False, bad_commands: int = 10) -> None:
        offer, rules = Offer("mail.example.org"), MessageRules(100, 3)
        bounds = Bounds(bad_commands=bad_commands, commands=30)
        self.dialogue = Mx(offer, channel, bounds, rules, require_tls=require_tls)

    def send(self, command: bytes, cut: list[int], answer: int = 250) -> Told:
        """``answer``: the backend's, to whatever it is asked."""
        told = send(self.dialogue, command, cut, repeat(answer))
        if self.dialogue.state is State.BODY:
            told += send(self.dialogue, b"x\r\n.\r\n", cut, repeat(answer))
        return told


def _said(told: Told) -> bytes:
    data = b""
    for each in told:
        match each:
            case bytes():
                data += each
            case Reply() | Close() | StartTls() | Abandon() | AuthRejected() | CleartextAuthRefused():
                data += each.data
    return data


@pytest.mark.parametrize("command", _COMMANDS, ids=repr)
@pytest.mark.parametrize("state", _STATES)
@pytest.mark.parametrize("channel", list(Channel))
def test_every_command_in_every_state(channel: Channel, state: str, command: bytes) -> None:
    """One reply each (one more where it ends the connection), and the same whatever the segments are."""
    outcomes = []
    for cut in ([1000], [1], [3, 1]):
        session = _Session(channel)
        for before in _STATES[state]:
            session.send(before, [1000])
        told = session.send(command, cut)
        body = command == b"DATA\r\n" and any(isinstance(each, EndOfData) for each in told)
        outcomes.append((told, session.dialogue.state))
        replies = _REPLY.findall(_said(told))
        assert b"".join(replies) == _said(told)
        assert 1 <= len(replies) <= 1 + body + any(isinstance(each, Close) for each in told)
        assert session.dialogue.state in (State.START, State.READY, State.MAIL, State.CLOSED)
    assert outcomes[0] == outcomes[1] == outcomes[2]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(_commands, st.sampled_from([250] * 8 + [421, 451, 550]))),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.sampled_from(list(Channel)),
)
def test_segments_mean_nothing(commands: list[tuple[bytes, int]], cut: list[int], channel: Channel) -> None:
    one, other = _Session(channel), _Session(channel)
    assert one.send(_ENVELOPE[0], cut) == other.send(_ENVELOPE[0], [1000])
    for command, answer in commands:
        assert one.send(command, cut, answer) == other.send(command, [1000], answer)
        assert one.dialogue.state is other.dialogue.state
        if one.dialogue.state is State.CLOSED:
            return


@settings(max_examples=200, deadline=None)
@given(st.lists(_commands, max_size=30))
def test_no_mail_in_clear_where_tls_is_required(commands: list[bytes]) -> None:
    """Whatever is said, in whatever order: nothing of a transaction is an event."""
    session = _Session(Channel.CLEARTEXT, require_tls=True, bad_commands=50)
    for command in commands:
        told = session.send(command, [1000])
        assert not any(isinstance(each, Mail | Rcpt | Data | Body | EndOfData | Abandon) for each in told)
        if session.dialogue.state is State.CLOSED:
            return


@pytest.mark.parametrize("channel", list(Channel))
def test_what_is_offered(channel: Channel) -> None:
    """A server that is told of AUTH may try its passwords; one that isn't told of STARTTLS sends in clear."""
    said = _said(_Session(channel).send(b"EHLO x\r\n", [100]))
    assert b"AUTH" not in said
    assert (b"STARTTLS" in said) is (channel is Channel.CLEARTEXT)


@settings(max_examples=200, deadline=None)
@given(st.lists(_commands, min_size=1, max_size=4), st.sampled_from([(b"MAIL",), (b"RCPT",), (b"DATA", b"BDAT")]))
def test_a_client_that_sends_no_message_ends(commands: list[bytes], put_off: tuple[bytes, ...]) -> None:
    """None keeps a connection by commands that lead to nothing, or that the backend puts off again and again."""
    session = _Session(Channel.CLEARTEXT)
    for before in _ENVELOPE:
        session.send(before, [1000], 451 if before.startswith(put_off) else 250)
    for _ in range(100):
        for command in commands:
            session.send(command, [1000], 451 if command.startswith(put_off) else 250)
            if session.dialogue.state is State.CLOSED:
                return
    pytest.fail("a client without end")
