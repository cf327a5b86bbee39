"""Headers of parts, as they come: a type or an encoding that is misread hides the part."""

from __future__ import annotations

import pytest

from tlsgate.mail.surbl.part_header import HeaderReader, PartHeader


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
        (b"Content-Disposition: ATTACHMENT; filename=x\r\n", PartHeader(attachment=True)),
        (b"Content-Disposition: inline\r\n", PartHeader()),
        (b" continued\r\nContent-Type: text/html\r\n", PartHeader(b"text/html")),
    ],
)
def test_fields(text: bytes, header: PartHeader) -> None:
    assert read(text) == header


def test_a_line_that_belongs_to_no_header() -> None:
    assert not HeaderReader().line(b"Hello there\r\n")


def test_a_long_field_is_cut() -> None:
    """It may have megabytes."""
    reader = HeaderReader()
    reader.line(b"Content-Type: text/html;\r\n")
    for _ in range(100):
        reader.line(b" " + b"x" * 8000)
    assert sum(map(len, reader._fields.values())) <= 2048
    assert reader.header().media_type == b"text/html"
