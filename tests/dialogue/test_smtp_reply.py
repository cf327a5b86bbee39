"""SMTP replies: read within bounds, printed as they were read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.buffer import ReceiveBuffer
from tlsgate.dialogue.events import NEED_DATA, RemoteProtocolError
from tlsgate.dialogue.smtp_reply import MOST_LINES, ReplyReader, SmtpReply, reply

_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)


def _read(data: bytes, pieces: int = 1) -> list[SmtpReply]:
    buffer = ReceiveBuffer()
    reader = ReplyReader(buffer)
    replies = []
    for at in range(0, len(data), pieces):
        buffer.append(data[at : at + pieces])
        while (said := reader.next_reply()) is not NEED_DATA:
            assert isinstance(said, SmtpReply)
            replies.append(said)
    return replies


@given(st.lists(st.builds(SmtpReply, st.integers(200, 599), st.lists(_text, min_size=1, max_size=4).map(tuple))))
def test_what_is_printed_is_read(replies: list[SmtpReply]) -> None:
    """Also that a line's CR is no part of its text: with it, no keyword of EHLO but the last would be known."""
    data = b"".join(said.encode() for said in replies)
    assert _read(data, len(data) or 1) == _read(data) == replies


def test_ends_and_gaps_that_real_servers_have() -> None:
    assert _read(b"250\r\n") == [SmtpReply(250)]
    assert _read(b"250 \r\n") == [SmtpReply(250)]
    assert _read(b"250-\r\n250 ok\n") == [SmtpReply(250, ("", "ok"))]
    assert _read(b"250-a\r\n250\r\n") == [SmtpReply(250, ("a", ""))]


def test_text_is_made_printable() -> None:
    """It goes on to clients and to the log."""
    assert _read(b"550 a\0b\rc\x1b\xff\r\n") == [SmtpReply(550, ("a?b?c??",))]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"2500 ok\r\n",
        b"250ok\r\n",
        b"250_ok\r\n",
        b"150 ok\r\n",
        b"600 ok\r\n",
        b" 250 ok\r\n",
        "²50 ok\r\n".encode(),
        b"250-a\r\n251 b\r\n",
        b"250-" + b"x" * 3000,
        b"250-x\r\n" * (MOST_LINES + 1),
    ],
)
def test_nonsense_and_floods_are_the_backends_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        _read(data)


def test_the_most_lines() -> None:
    assert len(_read(b"250-x\r\n" * (MOST_LINES - 1) + b"250 x\r\n")[0].lines) == MOST_LINES


def test_enhanced_codes() -> None:
    said = SmtpReply(550, ("5.7.1 Relaying denied",))
    assert (said.enhanced, said.text) == ("5.7.1", "Relaying denied")
    for text in ("5.7.1.2 x", "7.1.1 x", "5.7 x", "x 5.7.1", "5.7.1x", "5.7.1000 x"):
        assert SmtpReply(550, (text,)).enhanced == ""
        assert SmtpReply(550, (text,)).text == text
    assert SmtpReply(550, ("5.7.1",)).enhanced == "5.7.1"


def test_positive_is_2xx_and_3xx() -> None:
    assert [SmtpReply(code).positive for code in (200, 354, 399, 400, 421, 550)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_our_own() -> None:
    assert reply("550 5.7.1", "No").encode() == b"550 5.7.1 No\r\n"
    assert reply("354", "Go ahead").encode() == b"354 Go ahead\r\n"
    assert SmtpReply(250, ("a", "b", "c")).encode() == b"250-a\r\n250-b\r\n250 c\r\n"
