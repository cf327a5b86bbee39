from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from tlsgate.demo.imap_fetch import parse_items
from tlsgate.demo.imap_search import parse_search
from tlsgate.demo.imap_syntax import SyntaxFault, tokens
from tlsgate.demo.mailbox import Message

PIECES = [
    b"Content-Type: ",
    b"multipart/mixed",
    b"multipart/digest",
    b"message/rfc822",
    b"; boundary=",
    b'"b"',
    b"; name*=utf-8''%E2%82%AC",
    b"; name*0*=nonsense'",
    b"From: ",
    b"Content-Disposition: ",
    b"a@b",
    b'"x" <y@z>, (c) group: d@e;',
    b"--b",
    b"--",
    b"\r\n",
    b"\n",
    b" ",
    b"\xff\x00",
]
messages = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=40).map(b"".join)
WORDS = [
    b"OR ",
    b"NOT ",
    b"UID ",
    b"1:* ",
    b"SINCE ",
    b"1-Jan-2024 ",
    b"SUBJECT ",
    b"LARGER ",
    b"(",
    b")",
    b'"',
    b"{3}\r\n",
    b"\\",
]
arguments = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=20).map(b"".join)


@given(messages)
@example(b"Content-Type: ; name*=utf-8''%E2%82%AC; name*0*=nonsense'")
@example(b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n--b\r\n\r\nx\r\n--b--')
def test_any_message_can_be_described_and_what_is_written_reads_as_tokens(raw: bytes) -> None:
    message = Message(1, raw, datetime.now(UTC), set())
    for item in parse_items(
        tokens(b"(ENVELOPE BODY BODYSTRUCTURE BODY[HEADER.FIELDS (FROM)] BODY[1.1] BODY[2.MIME])"), False
    ):
        assert len(tokens(item.write(message))) == 1
    (whole,) = parse_items([b"BODY[]"], False)
    assert tokens(whole.write(message)) == [raw]


@given(arguments)
def test_any_argument_is_understood_or_a_syntax_fault(data: bytes) -> None:
    message = Message(1, b"Subject: x\r\n\r\ny", datetime.now(UTC), set())
    try:
        parse_search(tokens(data), 1, 1)(1, message)
    except SyntaxFault:
        return


@given(arguments)
def test_any_fetch_item_is_understood_or_a_syntax_fault(data: bytes) -> None:
    message = Message(1, b"Subject: x\r\n\r\ny", datetime.now(UTC), set())
    try:
        items = parse_items(tokens(data), True)
    except SyntaxFault:
        return
    assert all(item.write(message) for item in items)
