"""Charsets: a name must not be missed for the charset that a part claims."""

from __future__ import annotations

import pytest

from tlsgate.mail.surbl.charset import CharsetDecoder


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        (b"utf-8", "bücher.example".encode()),
        (b"", "bücher.example".encode()),
        (b"us-ascii", "bücher.example".encode()),
        (b"utf-16", "bücher.example".encode("utf-16")),
        (b"utf-16le", "bücher.example".encode("utf-16-le")),
        (b"utf-16", "bücher.example".encode("utf-16-le")),
        (b"utf-16", "bücher.example".encode("utf-16-be")),
        (b"utf-16le", "bücher.example".encode("utf-16-be")),
        (b"iso-8859-1", "bücher.example".encode("latin-1")),
    ],
)
def test_octet_by_octet(charset: bytes, data: bytes) -> None:
    decoder = CharsetDecoder(charset)
    text = decoder.decode(data[:6])
    text += "".join(decoder.decode(data[at : at + 1]) for at in range(6, len(data)))
    assert (text + decoder.decode(b"", final=True)).lstrip("\ufeff") == "bücher.example"


@pytest.mark.parametrize("charset", [b"koi8-r", b"windows-1252", b"utf-32", b"rot13", b"idna", b"\xff", b"x" * 99])
def test_ascii_is_ascii_in_all_others(charset: bytes) -> None:
    assert CharsetDecoder(charset).decode(b"e\0x\0a\0m\0p\0l\0e\0") == "example"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_a_mark_tells_the_order(codec: str) -> None:
    """Where no character has a zero."""
    assert CharsetDecoder(b"utf-16").decode("\ufeff請訪問".encode(codec)) == "\ufeff請訪問"


def test_broken_text_is_no_error() -> None:
    assert CharsetDecoder(b"utf-8").decode(b"a\xff\xc3.b\xc3", final=True) == "a\ufffd\ufffd.b\ufffd"
