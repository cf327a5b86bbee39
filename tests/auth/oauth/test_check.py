"""Any token: each goes where it can be judged, and whatever is shown, there is a verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jws import JWSRegistry

from tests.auth.oauth.issuer import (
    AUDIENCE,
    EXPECTED,
    GOOD,
    NOW,
    Issuer,
    base64url,
    fetch,
    jws,
    key_set,
    now,
    post,
    private_key,
    public,
    signed,
)
from tlsgate.auth.oauth.check import TokenCheck
from tlsgate.auth.oauth.client import Client
from tlsgate.auth.oauth.introspection import Introspection
from tlsgate.auth.oauth.jwt import JwtCheck
from tlsgate.auth.oauth.key_cache import KeyCache
from tlsgate.auth.oauth.verdict import Invalid, Unavailable, Valid, Verdict
from tlsgate.dialogue.access_token import LONGEST_TOKEN

KEY = private_key("ES256")
JWT = signed(KEY, algorithm="ES256").text.encode()
FORGED = signed(private_key("ES256", 1), algorithm="ES256").text.encode()
ACTIVE = {"active": True, "aud": AUDIENCE, "exp": NOW + 9, "email": "bob"}


@pytest.fixture
def by_keys(issuer: Issuer, mock_clock: trio.testing.MockClock) -> JwtCheck:
    issuer.publish(public(KEY, "one"))
    return JwtCheck(KeyCache(issuer.jwks_url, fetch), EXPECTED, now)


@pytest.fixture
def by_asking(issuer: Issuer) -> Introspection:
    issuer.answers |= {"opaque": ACTIVE, JWT.decode(): ACTIVE, FORGED.decode(): ACTIVE}
    return Introspection(issuer.introspection_url, Client("gate", "secret"), post, EXPECTED, now)


async def test_both_ways(by_keys: JwtCheck, by_asking: Introspection) -> None:
    """What the keys say of a JWT stands: nobody gets a second opinion."""
    check = TokenCheck(by_keys, by_asking)
    assert await check.judge(JWT) == Valid("ann@example.org", NOW + 3600)
    assert await check.judge(FORGED) == Invalid("its signature is wrong")
    assert await check.judge(b"opaque") == Valid("bob", NOW + 9)


async def test_by_keys_alone(issuer: Issuer, by_keys: JwtCheck) -> None:
    check = TokenCheck(by_keys, None)
    assert await check.judge(JWT) == Valid("ann@example.org", NOW + 3600)
    assert await check.judge(b"opaque") == Invalid("no signed JWT")


async def test_by_asking_alone(issuer: Issuer, by_asking: Introspection) -> None:
    check = TokenCheck(None, by_asking)
    assert await check.judge(JWT) == Valid("bob", NOW + 9)
    assert await check.judge(b"opaque") == Valid("bob", NOW + 9)


@pytest.mark.parametrize("secret", [b"", b" ", b"opaque ", b"opaque\n", b"x" * (LONGEST_TOKEN + 1), b"\xff", b"\0"])
async def test_what_can_be_no_token_reaches_nobody(
    issuer: Issuer, by_keys: JwtCheck, by_asking: Introspection, secret: bytes
) -> None:
    assert await TokenCheck(by_keys, by_asking).judge(secret) == Invalid("no access token")
    assert issuer.requests == []


async def test_a_million_octets_cost_nothing(by_keys: JwtCheck) -> None:
    assert await TokenCheck(by_keys, None).judge(JWT * 5000) == Invalid("no access token")


# -- whatever is shown -----------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("one"),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)
_HEADER_NAMES = ["alg", "kid", "typ", "crit", "b64", "jku", "jwk", "x5c", "x5u", "x5t", "cty", "enc", "zip"]
_HEADERS = st.dictionaries(st.sampled_from(_HEADER_NAMES), _JSON, max_size=3).map(
    lambda each: {"alg": "ES256", "kid": "one"} | each
)
_CLAIMS = st.dictionaries(st.sampled_from([*GOOD, "nbf", "cnf", "email_verified", "scope"]), _JSON, max_size=3).map(
    lambda each: GOOD | each
)
_PART = st.binary(max_size=40).map(base64url) | st.text("eyJ0.-_=+ ", max_size=20)


def _judged(secret: bytes) -> Verdict:
    async def content(_: str) -> bytes:
        return key_set(public(KEY, "one"))

    async def judge() -> Verdict:
        return await TokenCheck(JwtCheck(KeyCache("", content), EXPECTED, now), None).judge(secret)

    return trio.run(judge)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.lists(_PART, max_size=6).map(lambda parts: ".".join(parts).encode()))
def test_garbage_is_refused(secret: bytes) -> None:
    """A token that raised would end its session, or more."""
    assert isinstance(_judged(secret), Invalid)


@settings(max_examples=200, deadline=None)
@given(_HEADERS, _CLAIMS | _JSON, st.sampled_from(["true", "changed"]))
def test_only_what_its_issuer_has_signed_is_good(header: dict[str, Any], claims: object, signature: str) -> None:
    def sign(message: bytes) -> bytes:
        return JWSRegistry.algorithms["ES256"].sign(message if signature == "true" else message + b".", KEY)

    found = _judged(jws(header, claims, sign).encode())
    assert not isinstance(found, Unavailable)
    if isinstance(found, Valid):
        assert signature == "true"
        assert (header["alg"], header["kid"]) in (("ES256", "one"), ("ES256", None))
        assert isinstance(claims, dict)
        assert found.user == claims["email"]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(JWT) - 1), st.integers(33, 126))
def test_no_octet_of_a_good_one_can_be_changed(place: int, octet: int) -> None:
    """Base64 that isn't canonical included: of one token there is one form."""
    changed = JWT[:place] + bytes([octet]) + JWT[place + 1 :]
    assert isinstance(_judged(changed), Valid) is (changed == JWT)


@settings(max_examples=100, deadline=None)
@given(_JSON | st.dictionaries(st.sampled_from([*ACTIVE, "iss", "nbf", "cnf"]), _JSON, max_size=4).map(ACTIVE.__or__))
def test_any_answer_of_the_issuer_is_a_verdict(answer: object) -> None:
    async def judge() -> Verdict:
        async def content(*_: object) -> bytes:
            return json.dumps(answer).encode()

        asking = Introspection("", Client("gate", "secret"), content, EXPECTED, now)
        return await TokenCheck(None, asking).judge(b"opaque")

    found = trio.run(judge)
    if isinstance(found, Valid):
        assert isinstance(answer, dict)
        assert answer["active"] is True
        assert found.user == answer["email"]
