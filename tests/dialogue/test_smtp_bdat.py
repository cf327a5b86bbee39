"""Chunks within a session: what they hold is the message, and nothing else is.

A failure here means that octets of a message are read as commands, or commands as a message.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialogue.mx_client import Told, send
from tlsgate.dialogue.events import (
    NEED_DATA,
    Bounds,
    Channel,
    Close,
    Ending,
    LocalProtocolError,
    Offer,
    Reply,
)
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.smtp import MessageRules
from tlsgate.dialogue.smtp_chunks import ChunkDecoder
from tlsgate.dialogue.smtp_data import BodyFault, DataDecoder
from tlsgate.dialogue.smtp_events import Abandon, Body, Data, EndOfData, Mail, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply

# Made of what looks like commands, ends of data, and halves of line ends.
_chunk = st.lists(
    st.sampled_from([b"QUIT\r\n", b"RSET\r\n", b"BDAT 3\r\n", b".", b"\r\n.\r\n", b"\r", b"\n", b"\0", b"ab", b"\r\n"]),
    max_size=5,
).map(b"".join)
_chunks = st.lists(_chunk, min_size=1, max_size=5)
_cuts = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def _bdat(chunks: list[bytes]) -> bytes:
    """The BDAT commands of a whole message."""
    last = len(chunks) - 1
    return b"".join(
        b"BDAT %d%s\r\n%s" % (len(each), b" LAST" if number == last else b"", each)
        for number, each in enumerate(chunks)
    )


def _events(data: bytes, cut: list[int], codes: list[int], *, normalize: bool = False) -> Told:
    """All that comes of a session. ``codes``: the answers to MAIL, RCPT, DATA and the end of data."""
    rules = MessageRules(400, 5, normalize=normalize, longest_line=20)
    dialogue = Mx(Offer("mail.example.org"), Channel.ENCRYPTED, Bounds(bad_commands=50), rules)
    return send(dialogue, data, cut, iter(codes))


_BEGIN = b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n"


@settings(max_examples=200, deadline=None)
@given(_chunks, _cuts, st.booleans())
def test_the_message_is_what_the_chunks_hold(chunks: list[bytes], cut: list[int], normalize: bool) -> None:
    """Any message, any chunks, any segments; and the next command is found, whatever the message's faults are."""
    told = _events(_BEGIN + _bdat(chunks) + b"VRFY me\r\nQUIT\r\n", cut, [], normalize=normalize)
    whole = ChunkDecoder(400, normalize=normalize, longest_line=20)
    message = b"".join(chunks)
    whole.begin(len(message), last=True)
    right = whole.feed(message)
    ends = [event for event in told if isinstance(event, EndOfData)]
    assert ends == [EndOfData(whole.size, whole.fault)]
    if whole.fault is None:
        assert b"".join(event.data for event in told if isinstance(event, Body)) == right
    replies = [event.data[:3] for event in told if isinstance(event, Reply)]
    assert replies == [b"250"] * len(chunks) + [b"252"]
    assert isinstance(last := told[-1], Close) and last.reason is Ending.LOGOUT


@settings(max_examples=200, deadline=None)
@given(_chunks, _chunks, _cuts, st.lists(st.sampled_from([250, 451, 550]), max_size=8))
def test_segments_mean_nothing(first: list[bytes], second: list[bytes], cut: list[int], codes: list[int]) -> None:
    """Two messages in one go, whatever the backend says to them: the same events, the same replies, in order."""
    data = _BEGIN + _bdat(first) + _BEGIN[8:] + _bdat(second) + b"VRFY me\r\nQUIT\r\n"
    told, at_once = _events(data, cut, codes), _events(data, [len(data)], codes)
    assert _sound(told) == _sound(at_once)
    assert isinstance(last := told[-1], Close) and last.reason is Ending.LOGOUT
    replies = [event for event in told if isinstance(event, Reply | Abandon) or (isinstance(event, bytes) and event)]
    assert len(replies) == 1 + 2 * 2 + len(first) + len(second) + 1, "one reply to each command"


def _sound(told: Told) -> Told:
    """Without the bodies of messages that can't stand: how much of them went on before depends on the segments."""
    kept: Told = []
    begin = 0
    for event in told:
        if isinstance(event, Data):
            begin = len(kept)
        elif isinstance(event, EndOfData) and event.fault is not None:
            kept[begin:] = [each for each in kept[begin:] if not isinstance(each, Body)]
        kept.append(event)
    return kept


@given(_chunks, _cuts)
def test_what_passes_is_one_message_by_data(chunks: list[bytes], cut: list[int]) -> None:
    """Else a message in chunks is two behind us."""
    told = _events(_BEGIN + _bdat(chunks), cut, [])
    passed = b"".join(event.data for event in told if isinstance(event, Body))
    data = DataDecoder(1000)
    data.feed(passed + b".\r\n")
    ends = [event for event in told if isinstance(event, EndOfData)]
    assert len(ends) == 1
    if ends[0].fault is None:
        assert (data.ended, data.fault, data.rest, data.size) == (True, None, b"", ends[0].size)
    else:
        assert b"\r\n.\r\n" not in b"\r\n" + passed


def test_a_chunk_is_read_as_it_comes() -> None:
    """A client must not make us hold a message: what has come of a chunk goes on at once, refused or taken."""
    dialogue = Mx(Offer("mail.example.org"), Channel.ENCRYPTED, Bounds(), MessageRules(10**9, 5, longest_line=None))
    send(dialogue, b"EHLO x\r\nMAIL FROM:<>\r\nBDAT 500000\r\n", [100], iter(()))
    for _ in range(499):
        assert send(dialogue, b"x" * 1000, [1000], iter(())) == []
        assert len(dialogue._buffer) == 0
    send(dialogue, b"x" * 1000 + b"RSET\r\n" + _BEGIN[8:] + b"BDAT 500000\r\n", [2000], iter(()))
    for _ in range(499):
        assert send(dialogue, b"x" * 1000, [1000], iter(())) == [Body(b"x" * 1000)]
        assert len(dialogue._buffer) == 0


def test_a_refused_body_is_not_passed_on() -> None:
    """What the backend never said 354 to must not be sent to it: it would be read as commands there."""
    told = _events(_BEGIN + _bdat([b"QUIT\r\n", b"QUIT\r\n"]), [5], [250, 250, 451])
    assert not any(isinstance(event, Body | EndOfData) for event in told)
    told = _events(b"EHLO x\r\nMAIL FROM:<>\r\n" + _bdat([b"QUIT\r\n", b"QUIT\r\n"]), [5], [250])
    assert not any(isinstance(event, Body | EndOfData | Close) for event in told)


def test_no_answer_while_a_chunk_comes() -> None:
    dialogue = Mx(Offer("mail.example.org"), Channel.ENCRYPTED, Bounds(), MessageRules(100, 5))
    dialogue.receive(_BEGIN + b"BDAT 9 LAST\r\nx")
    while (event := dialogue.next_event()) is not NEED_DATA:
        if isinstance(event, Mail | Rcpt | Data):
            dialogue.answer(SmtpReply(354))
    with pytest.raises(LocalProtocolError):
        dialogue.answer(SmtpReply(250))


def test_a_fault_is_not_forgotten_with_its_chunk() -> None:
    """The message's end has it, and the next message hasn't."""
    message = _bdat([b"a\n", b"fine\r\n"]) + _BEGIN[8:] + _bdat([b"fine\r\n"])
    ends = [event for event in _events(_BEGIN + message, [100], []) if isinstance(event, EndOfData)]
    assert ends == [EndOfData(8, BodyFault.BARE_LF), EndOfData(6, None)]
