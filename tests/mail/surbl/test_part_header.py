"""Headers of parts, as they come: a type or an encoding that is misread hides the part."""

from __future__ import annotations

import pytest

from tlsgate.mail.surbl.part_header import ANY_ENCODING, ANY_TYPE, HeaderReader, PartHeader


def read(text: bytes, default: bytes = b"text/plain") -> PartHeader:
    reader = HeaderReader(default)
    for line in text.splitlines(keepends=True):
        assert reader.line(line)
    return reader.header()


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (b"", PartHeader()),
        (b"Subject: text/html\r\n", PartHeader()),
        (b"Content-Type: TEXT/HTML; Charset=UTF-8\r\n", PartHeader(b"text/html", b"utf-8")),
        (b'content-type :text/html;\r\n\tcharset="utf-8"\r\n', PartHeader(b"text/html", b"utf-8")),
        (b"Content-Type: text/html (or so); charset=utf-8; charset=x\r\n", PartHeader(b"text/html", b"utf-8")),
        (b"Content-Type: text\r\n", PartHeader()),
        (b"Content-Type: text/html\r\nContent-Type: text/plain\r\n", PartHeader(b"text/html")),
        (b'Content-Type: multipart/x; boundary="a;=\\"b "\r\n', PartHeader(b"multipart/x", boundary=b'a;="b')),
        (b"Content-Type: a/b; boundary*=utf-8''a%20b\r\n", PartHeader(b"a/b", boundary=b"a b")),
        (b"Content-Type: a/b; boundary*0=aa;\r\n boundary*1=bb\r\n", PartHeader(b"a/b", boundary=b"aabb")),
        (b"Content-Type: a/b; boundary*0*=''a%61; boundary*1*=%62b\r\n", PartHeader(b"a/b", boundary=b"aabb")),
        (b"Content-Transfer-Encoding: Base64 \r\n", PartHeader(encoding=b"base64")),
        (b"Content-Transfer-Encoding: (7bit) base64\r\n", PartHeader(encoding=b"base64")),
        (b'Content-Transfer-Encoding: "base64"\r\n', PartHeader(encoding=b"base64")),
        (b"Content-Transfer-Encoding:\r\n" + b" \t\r\n" * 5000 + b" base64\r\n", PartHeader(encoding=b"base64")),
        (b"Content-Transfer-Encoding:" + b" " * 9000 + b"base64\r\n", PartHeader(encoding=b"base64")),
        (b"Content-Transfer-Encoding: (base64\r\n", PartHeader(encoding=ANY_ENCODING, unsure=True)),
        (b"Content-Transfer-Encoding: x-any\r\n", PartHeader(encoding=ANY_ENCODING, unsure=True)),
        (b"Content-Transfer-Encoding: ?\r\n", PartHeader(encoding=ANY_ENCODING, unsure=True)),
        (b"Content-Type: a/b; (c) boundary=b\r\n", PartHeader(b"a/b", boundary=b"b")),
        (b"Content-Type: (c) A (;) / (c) b ; boundary (d) = (e) b (f)\r\n", PartHeader(b"a/b", boundary=b"b")),
        (b'Content-Type: a/b; (c(\\)")d) boundary=b\r\n', PartHeader(b"a/b", boundary=b"b")),
        (b'Content-Type: a/b; x="(\\"("; boundary="(b)"\r\n', PartHeader(b"a/b", boundary=b"(b)")),
        (b'Content-Type: a/b; boundary="a  \r\n\tb"\r\n', PartHeader(b"a/b", boundary=b"a  \tb")),
        (b"Content-Type: a/b; x=" + b"x" * 4000 + b"; boundary=b\r\n", PartHeader(b"a/b", boundary=b"b")),
        (b"Content-Type: a/b; x=" + b"x" * 8147 + b"; boundary=b\r\n", PartHeader(b"a/b", boundary=b"b")),
        (b" continued\r\nContent-Type: text/html\r\n", PartHeader(b"text/html")),
    ],
)
def test_fields(text: bytes, header: PartHeader) -> None:
    assert read(text) == header


def test_a_line_that_belongs_to_no_header() -> None:
    assert not HeaderReader().line(b"Hello there\r\n")


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        (b"a/b; boundary=a(b)", b"a/b"),  # to some readers "a", to others "a(b)"
        (b"a/b; (;boundary=a) ; boundary=b", b"a/b"),
        (b"a/b; boundary=b; x=" + b"x" * 9000, b"a/b"),
        (b"a/b; x=" + b"x" * 9000 + b"; boundary=b", b"a/b"),
        (b"(" + b"x" * 9000 + b") a/b; boundary=b", ANY_TYPE),
    ],
)
def test_what_may_be_read_otherwise_is_unsure(text: bytes, media_type: bytes) -> None:
    """Taken for sure, it hides each part of the message."""
    header = read(b"Content-Type: " + text + b"\r\n")
    assert header.unsure
    assert header.media_type == media_type
    assert header.boundary in (b"", b"b")


@pytest.mark.parametrize("cut", range(8165, 8180))
def test_the_end_of_a_cut_field_is_no_boundary(cut: int) -> None:
    """The rest of it may follow."""
    text = b"Content-Type: a/b; x=" + b"x" * (cut - 21) + b"; boundary=" + b"b" * 70 + b"\r\n"
    assert read(text).boundary == b""


def test_an_unclosed_comment_may_be_any_type() -> None:
    assert read(b"Content-Type: (multipart/mixed; boundary=b\r\n").media_type == ANY_TYPE


def test_a_long_field_is_cut() -> None:
    """It may have megabytes."""
    reader = HeaderReader()
    reader.line(b"Content-Type: text/html;\r\n")
    for _ in range(100):
        reader.line(b" " + b"x" * 8000)
    assert sum(map(len, reader._fields.values())) <= 8192
    assert reader.header().media_type == b"text/html"
