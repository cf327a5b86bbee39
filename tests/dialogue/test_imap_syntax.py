"""The cursor over one IMAP command, and the way back: strings for the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.imap_syntax import LITERAL, TAG, Cursor, ImapSyntaxError, Literal, escaped, quoted


def _cursor(*pieces: bytes | Literal) -> Cursor:
    return Cursor([*pieces])


@given(st.binary(max_size=30))
def test_a_quoted_string_is_read_as_what_it_was(value: bytes) -> None:
    """The encoder towards a backend: what it can't write safely must go as a literal."""
    wire = quoted(value)
    if wire is None:
        assert any(not 0x20 <= octet < 0x7F for octet in value)
        return
    assert wire == b'"' + escaped(value) + b'"'
    cursor = _cursor(wire)
    assert cursor.string() == value
    cursor.end()


@given(st.binary(max_size=30))
def test_a_literal_is_read_as_it_came(value: bytes) -> None:
    for read in (Cursor.string, Cursor.astring, Cursor.nstring):
        cursor = _cursor(b"", Literal(value), b"")
        assert read(cursor) == value
        cursor.end()


@given(st.lists(st.binary(max_size=8) | st.binary(max_size=8).map(Literal), max_size=4), st.binary(max_size=8))
def test_nothing_but_a_syntax_error_comes_of_anything(pieces: list[bytes | Literal], last: bytes) -> None:
    """Its text goes to the client and the log: it must not quote an argument, which may be a password."""
    cursor = Cursor([*pieces, last])
    for _ in range(20):
        for read in (cursor.tag, cursor.atom, cursor.astring, cursor.string, cursor.nstring, cursor.rest, cursor.end):
            try:
                read()
            except ImapSyntaxError as error:
                assert str(error) in {
                    "bad tag",
                    "missing command or argument",
                    "bad string",
                    "unexpected literal",
                    "too many arguments",
                }


def test_a_command_with_everything() -> None:
    cursor = _cursor(b'a1 VERB atom] "q\\"\\\\" ', Literal(b"x\r\n"), b" NIL (nil)tail")
    assert cursor.tag() == b"a1"
    cursor.expect(b" ")
    assert cursor.atom() == b"VERB"
    cursor.expect(b" ")
    assert cursor.astring() == b"atom]"
    cursor.expect(b" ")
    assert cursor.string() == b'q"\\'
    cursor.expect(b" ")
    assert cursor.astring() == b"x\r\n"
    cursor.expect(b" ")
    assert cursor.nstring() is None
    cursor.expect(b" (")
    assert cursor.nil()
    assert not cursor.accept(b" ")
    assert cursor.rest() == b")tail"
    cursor.end()


@pytest.mark.parametrize(
    "text", [b'"', b'"a', b'"a\\"', b'"\\n"', b'"a\rb"', b'"a\nb"', b'"\0"', b"", b"(", b"{3}", b"%"]
)
def test_what_is_no_string(text: bytes) -> None:
    with pytest.raises(ImapSyntaxError):
        _cursor(text).astring()


def test_a_literal_stands_only_where_a_string_may() -> None:
    for read in (Cursor.tag, Cursor.atom, Cursor.end):
        with pytest.raises(ImapSyntaxError):
            read(_cursor(b"", Literal(b"x"), b""))
    with pytest.raises(ImapSyntaxError):
        _cursor(b"text", Literal(b"x"), b"").string()


def test_end_sees_a_literal_that_is_left() -> None:
    cursor = _cursor(b"a", Literal(b"x"), b"")
    cursor.atom()
    with pytest.raises(ImapSyntaxError):
        cursor.end()


@pytest.mark.parametrize("octet", [*b'(){%*"\\+ \x7f\x80\xff\r\n\0'])
def test_a_tag_that_is_said_again_holds_nothing_special(octet: int) -> None:
    """A tag goes into our reply as it came."""
    found = TAG.match(b"a" + bytes([octet]) + b"b")
    assert found is not None and found.group() == b"a"


def test_literal_sizes() -> None:
    for text, size, plus in ((b"x {5}", b"5", b""), (b"{05+}", b"05", b"+"), (b"{1}{2}", b"2", b"")):
        found = LITERAL.search(text)
        assert found is not None and found.groups() == (size, plus)
    for text in (b"{5} ", b"{-5}", b"{ 5}", b"{5 }", b"{0x5}", b"{}", b"{+}", b"{5++}", b"5}", b"{\xb2}"):
        assert LITERAL.search(text) is None


def test_a_literal_is_not_shown() -> None:
    """It may be a password."""
    assert "hunter2" not in repr(Literal(b"hunter2"))
