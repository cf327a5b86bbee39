"""What can be an access token at all: bounded before anybody looks into it, and never seen in a log."""

from __future__ import annotations

import pytest

from tlsgate.auth.oauth.token import AccessToken, access_token
from tlsgate.dialogue.access_token import LONGEST_TOKEN


@pytest.mark.parametrize("secret", [b"x", b"x" * LONGEST_TOKEN, b"a.b.c", b"A-._~+/=", b"!~"])
def test_visible_ascii_can_be_one(secret: bytes) -> None:
    token = access_token(secret)
    assert token is not None
    assert token.text.encode() == secret


@pytest.mark.parametrize(
    "secret", [b"", b"x" * (LONGEST_TOKEN + 1), b"a b", b"a\n", b"a\r\nX: y", b"a\0", b"\x7f", "é".encode(), b"\xff"]
)
def test_nothing_else_can(secret: bytes) -> None:
    assert access_token(secret) is None


def test_its_repr_shows_nothing_of_it() -> None:
    assert "hunter2" not in repr(AccessToken("hunter2"))


@pytest.mark.parametrize("text", ["eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "eyAi.e30.c2ln", "ewoi.e30.", "ey.."])
def test_a_jws_is_known_by_its_form(text: str) -> None:
    assert AccessToken(text).is_signed


@pytest.mark.parametrize("text", ["ya29.a0Af", "eyJ", "eyJ.e30", "eyJ.a.b.c.d", "a.b.c", "..", "eyJ...."])
def test_what_has_another_form_is_opaque(text: str) -> None:
    """A JWE (five parts) too: only its issuer can read it."""
    assert not AccessToken(text).is_signed
