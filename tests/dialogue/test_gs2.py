"""The GS2 header."""

from __future__ import annotations

import pytest

from tlsgate.dialogue.challenge import SaslError
from tlsgate.dialogue.gs2 import Gs2Header, read_gs2, saslname


@pytest.mark.parametrize(
    ("message", "header"),
    [
        ("n,,rest", Gs2Header("n", "", "", "n,,")),
        ("y,,rest", Gs2Header("y", "", "", "y,,")),
        ("p=tls-exporter,,rest", Gs2Header("p", "tls-exporter", "", "p=tls-exporter,,")),
        ("n,a=b=2Cc=3Dd,rest", Gs2Header("n", "", "b,c=d", "n,a=b=2Cc=3Dd,")),
    ],
)
def test_the_header_and_the_rest(message: str, header: Gs2Header) -> None:
    assert read_gs2(message) == (header, "rest")


@pytest.mark.parametrize(
    "message",
    ["", "n", "n,", "N,,", "x,,", "p,,", "p=,,", "p=a b,,", "n,b,", "n,a=,", "n,a=\0,", "F,n,,", " n,,", "n,a=b=2c,"],
)
def test_what_is_no_header(message: str) -> None:
    with pytest.raises(SaslError):
        read_gs2(message)


@pytest.mark.parametrize("name", ["=", "a=", "=2", "=2c", "=3d", "=41", "=2C="])
def test_an_equals_sign_that_escapes_nothing_must_fail(name: str) -> None:
    """RFC 5802 5.1. Passed over, "=2c" and "=2C" would be two names that other servers take for one."""
    with pytest.raises(SaslError):
        saslname(name)


def test_an_escape_is_undone_once() -> None:
    assert saslname("=3D2C") == "=2C"
