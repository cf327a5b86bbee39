"""Transfer encodings, in any pieces: what readers see is what is searched."""

from __future__ import annotations

import base64
import binascii
import itertools
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.mail.surbl.part_header import ANY_ENCODING
from tlsgate.mail.surbl.transfer import ANY_PARTS, transfer_decoders


def decoded(encoding: bytes, *pieces: bytes) -> bytes:
    [decoder] = transfer_decoders(encoding)
    return b"".join([*map(decoder.decode, pieces), decoder.end()])


@pytest.mark.parametrize(
    ("encoding", "data", "text"),
    [
        (b"base64", b"aHR0cDov\r\nL2V4YW1wbGUuY29t", b"http://example.com"),
        (b"base64", b"aHR0\0cDov*L2V4 YW1wbGUuY29t", b"http://example.com"),
        (b"base64", b"aHR0cA==Oi8v\r\n", b"http://"),
        (b"base64", b"aHR0c", b"htt"),
        (b"base64", b"aHR0cA", b"http"),
        (b"base64", b"====", b""),
        (b"quoted-printable", b"exam=\r\nple=2Ecom=\n", b"example.com"),
        (b"quoted-printable", b"exam= \t\r\nple=3d", b"example="),
        (b"quoted-printable", b"a=zz=", b"a=zz"),
        (b"7bit", b"a=3D", b"a=3D"),
    ],
)
def test_what_is_decoded(encoding: bytes, data: bytes, text: bytes) -> None:
    """Whole, and octet by octet."""
    assert decoded(encoding, data) == text
    assert decoded(encoding, *(data[at : at + 1] for at in range(len(data)))) == text


@pytest.mark.parametrize("encoding", [ANY_ENCODING, ANY_PARTS])
@pytest.mark.parametrize("length", [1, 7, 1000])
@pytest.mark.parametrize("data", [b"http://example.com", b"http://exam=\r\nple=2Ecom", b"aHR0cDov\r\nL2V4YW1wbGUuY29t"])
def test_what_is_unclear_is_decoded_in_each_way(encoding: bytes, length: int, data: bytes) -> None:
    """Whichever a reader takes."""
    texts = []
    for decoder in transfer_decoders(encoding):
        pieces = [decoder.decode(data[at : at + length]) for at in range(0, len(data), length)]
        texts.append(b"".join([*pieces, decoder.end()]))
    assert b"http://example.com" in texts


@pytest.mark.parametrize("length", [1, 2, 3, 1000])
@pytest.mark.parametrize("before", [b"Content-Type: x\n\n", b"a\n--b\nxyz: a\n\n", b"a\n--b\nY: a\n\nAAA\n--ab\n\n"])
def test_base64_behind_a_header(before: bytes, length: int) -> None:
    """Its groups of four begin there, whatever letters came before."""
    data = (before + b"aHR0cDov\nL2V4YW1wbGUuY29t\n--b").replace(b"\n", b"\r\n")
    *_, decoder = transfer_decoders(ANY_PARTS)
    pieces = [decoder.decode(data[at : at + length]) for at in range(0, len(data), length)]
    assert b"http://example.com" in b"".join([*pieces, decoder.end()])


@given(st.binary(max_size=300), st.lists(st.integers(0, 500)))
def test_encoded_by_others(data: bytes, cuts: list[int]) -> None:
    for encoding, text in ((b"base64", base64.encodebytes(data)), (b"quoted-printable", quopri.encodestring(data))):
        places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
        pieces = [text[a:b] for a, b in itertools.pairwise(places)]
        expected = data if encoding == b"base64" else binascii.a2b_qp(text)
        assert decoded(encoding, *pieces) == expected


@given(st.lists(st.binary(max_size=50)))
def test_any_octets(pieces: list[bytes]) -> None:
    for decoder in transfer_decoders(ANY_PARTS):
        whole = b"".join(pieces)
        assert len(b"".join([*map(decoder.decode, pieces), decoder.end()])) <= len(whole)
