"""OAUTHBEARER and XOAUTH2."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.dialogue.access_token import LONGEST_TOKEN, BearerToken, TokenAdvice, TokenError
from tlsgate.dialogue.bearer import OAuthBearer, XOAuth2
from tlsgate.dialogue.challenge import Challenge, SaslError, decode, encode
from tlsgate.dialogue.proofs import Rejected

ADVICE = TokenAdvice("example_scope", "https://example.com/.well-known/openid-configuration")
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


def test_the_exchange_of_the_rfc() -> None:
    """RFC 7628 4.1."""
    message = decode(
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52"
        b"YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    exchange = OAuthBearer(ADVICE)
    assert exchange.start(message) == BearerToken(TOKEN, "user@example.com")
    assert exchange.user == "user@example.com"


def test_a_token_that_is_not_taken() -> None:
    """RFC 7628 4.3: this text is what a client reads to fetch a new token; with another it asks for a password."""
    said = OAuthBearer(ADVICE).refused(TokenError.INVALID_TOKEN)
    assert encode(said.data) == (
        b"eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczov"
        b"L2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
    )


def test_what_is_not_configured_is_not_told() -> None:
    said = OAuthBearer(TokenAdvice()).refused(TokenError.INSUFFICIENT_SCOPE)
    assert json.loads(said.data) == {"status": "insufficient_scope"}


def test_the_initial_response_is_asked_for() -> None:
    for exchange in (OAuthBearer(ADVICE), XOAuth2(ADVICE)):
        assert exchange.start(None) == Challenge(b"")


def test_an_empty_auth_asks_where_to_get_a_token() -> None:
    exchange = OAuthBearer(ADVICE)
    step = exchange.start(b"n,,\x01host=server.example.com\x01port=143\x01auth=\x01\x01")
    assert step == Rejected(exchange.refused(TokenError.INVALID_TOKEN), "no token", None)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"n,,\x01auth=Bearer abc\x01\x01", BearerToken("abc")),
        (b"y,,\x01auth=Bearer abc\x01\x01", BearerToken("abc")),
        (b"n,a=a=2Cb,\x01auth=bearer   abc\x01\x01", BearerToken("abc", "a,b")),
        (b"n,,\x01other=a=b c\r\n\t\x01auth=BEARER a.b-c_d~e+f/g==\x01\x01", BearerToken("a.b-c_d~e+f/g==")),
    ],
)
def test_ways_to_say_it(message: bytes, expected: BearerToken) -> None:
    assert OAuthBearer(ADVICE).start(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,\x01",
        b"n,,\x01\x01",
        b"auth=Bearer abc\x01\x01",
        b"n,,auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Bearer abc\x01",
        b"n,,\x01auth=Bearer abc\x01\x01\x01",
        b"n,,\x01host=a\x01\x01",
        b"n,,\x01auth=Bearer abc\x01auth=Bearer abd\x01\x01",
        b"n,,\x01auth=Basic abc\x01\x01",
        b"n,,\x01auth=Bearerabc\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer =a\x01\x01",
        b"n,,\x01auth=Bearer abc\r\n\x01\x01",
        b"n,,\x01au-th=Bearer abc\x01\x01",
        b"n,,\x01port=x\x01auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Bearer \xff\x01\x01",
        b"n,a=a\nb,\x01auth=Bearer abc\x01\x01",
        b"n,a= ,\x01auth=Bearer abc\x01\x01",
        b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01",
        b"n,," + b"".join(b"\x01%c=b" % letter for letter in b"bcdefghijklmnopq") + b"\x01auth=Bearer abc\x01\x01",
        b"n,,\x01host=" + b"a" * 2 * LONGEST_TOKEN + b"\x01auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Bearer " + b"a" * (LONGEST_TOKEN + 1) + b"\x01\x01",
        b"n,,\x01auth=Bearer " + b"a" * (LONGEST_TOKEN * 2) + b"\x01\x01",
    ],
)
def test_what_is_no_bearer_message(message: bytes) -> None:
    with pytest.raises(SaslError) as caught:
        OAuthBearer(ADVICE).start(message)
    assert "abc" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_googles_example() -> None:
    message = decode(
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0"
        b"Q2cBAQ=="
    )
    exchange = XOAuth2(ADVICE)
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    assert exchange.start(message) == BearerToken(token, "someuser@example.com")
    assert exchange.user == "someuser@example.com"


def test_what_xoauth2_says_of_a_token_that_is_not_taken() -> None:
    said = XOAuth2(TokenAdvice("https://mail.google.com/")).refused(TokenError.INVALID_TOKEN)
    assert said == Challenge(b'{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}')


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"user=a",
        b"user=a\x01auth=Bearer abc",
        b"user=a\x01auth=Bearer abc\x01",
        b"user=a\x01auth=Bearer abc\x01\x01\x01",
        b"auth=Bearer abc\x01user=a\x01\x01",
        b"user=\x01auth=Bearer abc\x01\x01",
        b"user= \x01auth=Bearer abc\x01\x01",
        b"user=a\nb\x01auth=Bearer abc\x01\x01",
        b"user=a\x01auth=abc\x01\x01",
        b"user=a\x01auth=\x01\x01",
        b"user=a\x01auth=Bearer abc \x01\x01",
        b"user=\xff\x01auth=Bearer abc\x01\x01",
        b"user=" + b"a" * 600 + b"\x01auth=Bearer abc\x01\x01",
        b"user=a\x01auth=Bearer abc\x01\x01\n",
    ],
)
def test_what_is_no_xoauth2_message(message: bytes) -> None:
    with pytest.raises(SaslError) as caught:
        XOAuth2(ADVICE).start(message)
    assert "abc" not in str(caught.value)
    assert caught.value.__cause__ is None


PARTS = st.sampled_from(
    [b"n,,", b"n,a=u,", b"\x01", b"\x01\x01", b"auth=", b"Bearer ", b"abc", b"user=", b"u", b"port=", b"1", b"=", b","]
)


@settings(deadline=None)
@given(st.binary(max_size=80) | st.lists(PARTS, max_size=14).map(b"".join))
def test_any_message(message: bytes) -> None:
    for exchange in (OAuthBearer(ADVICE), XOAuth2(ADVICE)):
        with contextlib.suppress(SaslError):
            assert isinstance(exchange.start(message), BearerToken | Rejected)
