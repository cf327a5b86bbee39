"""What travels in a SASL exchange: base64."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.challenge import SaslError, decode, decode_initial, encode


@given(st.binary(max_size=200))
def test_base64_comes_back(data: bytes) -> None:
    assert decode(encode(data)) == data
    assert b"\n" not in encode(data)


@given(st.binary(max_size=40))
def test_base64_is_strict(line: bytes) -> None:
    """Two ways to write one response are two ways past a filter. Unused bits in the last character are let pass."""
    try:
        data = decode(line)
    except SaslError as error:
        assert str(error) == "bad base64"
        return
    again = encode(data)
    assert len(again) == len(line)
    assert again[: len(data) // 3 * 4] == line[: len(data) // 3 * 4]


@pytest.mark.parametrize(
    "line", [b"=", b"====", b"YQ", b"YQ=", b"YQ==YQ==", b"Y Q==", b"YQ==\r", b"Y-_=", b"YQ== ", b"*"]
)
def test_noise_is_refused(line: bytes) -> None:
    with pytest.raises(SaslError):
        decode(line)


def test_initial_responses() -> None:
    """RFC 4954 4: "=" is the empty response; nothing at all is none."""
    assert decode_initial(b"=") == b""
    assert decode_initial(b"YQ==") == b"a"
    with pytest.raises(SaslError, match="empty initial response"):
        decode_initial(b"")
