"""Transfer encodings, in any pieces: what readers see is what is searched."""

from __future__ import annotations

import base64
import binascii
import itertools
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.mail.surbl.transfer import transfer_decoder


def decoded(encoding: bytes, *pieces: bytes) -> bytes:
    decoder = transfer_decoder(encoding)
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
        (b"x-unknown", b"a=3D", b"a=3D"),
    ],
)
def test_what_is_decoded(encoding: bytes, data: bytes, text: bytes) -> None:
    """Whole, and octet by octet."""
    assert decoded(encoding, data) == text
    assert decoded(encoding, *(data[at : at + 1] for at in range(len(data)))) == text


@given(st.binary(max_size=300), st.lists(st.integers(0, 500)))
def test_encoded_by_others(data: bytes, cuts: list[int]) -> None:
    for encoding, text in ((b"base64", base64.encodebytes(data)), (b"quoted-printable", quopri.encodestring(data))):
        places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
        pieces = [text[a:b] for a, b in itertools.pairwise(places)]
        expected = data if encoding == b"base64" else binascii.a2b_qp(text)
        assert decoded(encoding, *pieces) == expected


@given(st.sampled_from([b"base64", b"quoted-printable"]), st.lists(st.binary(max_size=50)))
def test_any_octets(encoding: bytes, pieces: list[bytes]) -> None:
    decoded(encoding, *pieces)
