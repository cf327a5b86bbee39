"""A message's parts: who finds other boundaries than a reader's program searches the wrong octets."""

from __future__ import annotations

import pytest

from tlsgate.mail.surbl.part_header import ANY_TYPE, PartHeader
from tlsgate.mail.surbl.structure import Structure


class Parts:
    """Each leaf's media type and octets."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes]] = []

    def open(self, header: PartHeader) -> Parts:
        self.seen.append((header.media_type, b""))
        return self

    def feed(self, data: bytes) -> None:
        kind, before = self.seen[-1]
        self.seen[-1] = kind, before + data

    def finish(self) -> None:
        pass


def parts(text: bytes, length: int = 10**9) -> list[tuple[bytes, bytes]]:
    """Leaves that have something in them, by a message that comes in pieces of a length."""
    seen = Parts()
    structure = Structure(seen.open)
    data = text.replace(b"\n", b"\r\n")
    for at in range(0, len(data), length):
        structure.feed(data[at : at + length])
    structure.finish()
    return [(kind, body.replace(b"\r\n", b"\n").strip()) for kind, body in seen.seen if body.strip()]


_TEXT, _HTML = b"text/plain", b"text/html"
_ANY = ANY_TYPE
_MIXED = b"Content-Type: multipart/mixed; boundary=x\n\n"
_UNCLEAR = b"Content-Type: multipart/mixed\n\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Subject: x\n\nhello\n--x\n", [(_TEXT, b"hello\n--x")]),
        (b"\nhello", [(_TEXT, b"hello")]),
        (b"Subject: x\nhello: not\nreally a field\n", [(_TEXT, b"really a field")]),
        (_MIXED + b"pre\n--x\n\none\n--x\nContent-Type: text/html\n\ntwo\n--x--\npost\n",
         [(_TEXT, b"pre"), (_TEXT, b"one"), (_HTML, b"two"), (_TEXT, b"post")]),
        (_MIXED + b"--x \t\n\none\n--x--", [(_TEXT, b"one")]),
        (_MIXED + b"--x\n\none\n--xy\n --x\n-- x\n--x--y\n", [(_TEXT, b"one\n--xy\n --x\n-- x\n--x--y")]),
        (_MIXED + b"--x\nContent-Type: text/html\n--x\n\ntwo", [(_TEXT, b"two")]),
        (_MIXED + b"no delimiter", [(_TEXT, b"no delimiter")]),
        # Without a boundary that can be read, each line that looks like a delimiter may be one.
        (b"Content-Type: multipart/mixed\n\n--x\n\none", [(_ANY, b"--x"), (_ANY, b"one")]),
        (_UNCLEAR + b"pre\n--decoy\n--x y \nContent-Type: text/html\n\ntwo\n-- \nme\n--x y--\npost",
         [(_ANY, b"pre\n--decoy"), (_ANY, b"--x y"), (_HTML, b"two\n-- \nme\n--x y--"), (_ANY, b"post")]),
        (_UNCLEAR + b"--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\n\none\n--y--\n--x\n\ntwo",
         [(_ANY, b"--x"), (_TEXT, b"one"), (_TEXT, b"--x"), (_ANY, b"two")]),
        (_UNCLEAR + b"--x\nContent-Type: multipart/mixed\n\n--y\nContent-Type: text/html\n\none\n--x\n\ntwo",
         [(_ANY, b"--x"), (_ANY, b"--y"), (_HTML, b"one\n--x"), (_ANY, b"two")]),
        (b"Content-Type: message/rfc822\nContent-Transfer-Encoding: (\n\nContent-Type: text/html\n\none",
         [(_HTML, b"one")]),
        (_MIXED + b"--x\n\none\n--x--\n--x\n\ntwo", [(_TEXT, b"one"), (_TEXT, b"--x\n\ntwo")]),
        # The outer boundary ends what is left open within.
        (_MIXED + b"--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\n\none\n--x\n\ntwo\n--y\nthree",
         [(_TEXT, b"one"), (_TEXT, b"two\n--y\nthree")]),
        # One boundary is the other's beginning.
        (_MIXED + b"--x\nContent-Type: multipart/alternative; boundary=x--\n\n--x--\n\none\n--x----\n--x\n\ntwo",
         [(_TEXT, b"one"), (_TEXT, b"two")]),
        (_MIXED + b"--x\nContent-Type: message/rfc822\n\nContent-Type: text/html\n\ninner\n--x\n\ntwo",
         [(_HTML, b"inner"), (_TEXT, b"two")]),
        (b"Content-Type: multipart/digest; boundary=x\n\n--x\n\nContent-Type: text/html\n\ninner\n--x--\n",
         [(_HTML, b"inner")]),
        (b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA\n", [(b"message/rfc822", b"AAAA")]),
    ],
)  # fmt: skip
def test_leaves(text: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    """However the octets come."""
    for length in (10**9, 1, 7):
        assert parts(text, length) == expected, length


def test_a_long_boundary_in_pieces() -> None:
    boundary = b"x" * 200
    text = b"Content-Type: multipart/mixed; boundary=%b\n\n--%b\n\none\n--%b--%b\n" % (*[boundary] * 3, b" " * 100)
    assert parts(text, 7) == [(_TEXT, b"one")]


def nested(depth: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return head + b"Content-Type: text/html\n\nhello\n"


def test_ten_levels_are_read() -> None:
    assert parts(nested(10)) == [(_HTML, b"hello")]


@pytest.mark.parametrize("depth", [11, 200])
def test_what_is_nested_deeper_is_text(depth: int) -> None:
    [(kind, text)] = parts(nested(depth))
    assert kind == _ANY
    assert text.endswith(b"hello")


def test_what_follows_the_last_part_is_text() -> None:
    seen = parts(_MIXED + b"--x\nContent-Type: text/html\n\nhello\n" * 10_000)
    assert [kind for kind, _ in seen] == [_HTML] * 99 + [_ANY]
    assert seen[-1][1].count(b"hello") == 10_000 - 99


def test_messages_in_messages_are_counted_too() -> None:
    [(kind, text)] = parts(b"Content-Type: message/rfc822\n\n" * 10_000)
    assert kind == _ANY
    assert len(text) > 200_000


def test_a_header_without_an_end_becomes_text() -> None:
    """Its fields would be read for megabytes."""
    [(kind, text)] = parts(b"X-A: b\n" * 100_000 + b"\nhello")
    assert kind == _ANY
    assert len(text) > 100_000
    assert text.endswith(b"hello")


def test_a_long_line_is_one_field() -> None:
    """Cut in pieces, none of which begins another."""
    line = b"X-A: " + b"x" * 8187 + b"Content-Type: text/html\n"
    assert parts(line + b"\nhello") == parts(line + b"\nhello", 1000) == [(_TEXT, b"hello")]


@pytest.mark.parametrize("data", [b"x" * 1000, b"\n--" + b"x" * 997, b"\n--x" + b" " * 996])
def test_nothing_is_held_for_long(data: bytes) -> None:
    structure = Structure(Parts().open)
    structure.feed(_MIXED.replace(b"\n", b"\r\n"))
    for _ in range(20):
        structure.feed(data)
        assert len(structure._held) < 1000
