"""JWTs: good ones of each algorithm open, and nothing else does. RFC 8725 has most of the attacks."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
import trio.testing
from joserfc import jwe
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from msgspec.structs import replace

from tests.auth.oauth.issuer import (
    AUDIENCE,
    EXPECTED,
    GOOD,
    NOW,
    Issuer,
    base64url,
    fetch,
    jws,
    now,
    private_key,
    public,
    shown,
    signed,
)
from tlsgate.auth.oauth.jwk import ALGORITHMS
from tlsgate.auth.oauth.jwt import JwtCheck
from tlsgate.auth.oauth.key_cache import KEPT, PAUSE, KeyCache
from tlsgate.auth.oauth.token import AccessToken
from tlsgate.auth.oauth.verdict import Invalid, Unavailable, Valid, Verdict
from tlsgate.dialogue.access_token import LONGEST_TOKEN, TokenError

KEY, OTHER = private_key("RS256"), private_key("RS256", 1)
ANN = Valid("ann@example.org", NOW + 3600)
NO_JWT = Invalid("no signed JWT")
WRONG = Invalid("its signature is wrong")
UNKNOWN = Invalid("signed by no key of the issuer")


@pytest.fixture
def check(issuer: Issuer, mock_clock: trio.testing.MockClock) -> JwtCheck:
    issuer.publish(public(KEY, "one"))
    return JwtCheck(KeyCache(issuer.jwks_url, fetch), EXPECTED, now)


# -- good ones -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
async def test_each_algorithm(issuer: Issuer, check: JwtCheck, algorithm: str) -> None:
    key = private_key(algorithm)
    issuer.publish(public(OTHER, "other"), public(key, "one"))
    assert await check.judge(signed(key, algorithm=algorithm)) == ANN


@pytest.mark.parametrize("typ", ["at+jwt", "JWT", "jwt", "application/at+jwt", "AT+JWT", ""])
async def test_each_type(check: JwtCheck, typ: str) -> None:
    assert await check.judge(signed(KEY, typ=typ)) == ANN


async def test_a_token_is_good_as_often_as_it_is_shown(check: JwtCheck) -> None:
    """A mail client opens five connections with it, and comes again in a minute."""
    token = signed(KEY)
    assert [await check.judge(token) for _ in range(3)] == [ANN] * 3


async def test_headers_that_are_not_known_are_ignored(check: JwtCheck) -> None:
    assert await check.judge(signed(KEY, nonce="x", x5t="abc", unknown={"a": [1]})) == ANN


# -- the signature ---------------------------------------------------------------------------------------


async def test_another_key_under_the_same_name(check: JwtCheck) -> None:
    assert await check.judge(signed(OTHER)) == WRONG


async def test_a_part_that_was_changed(check: JwtCheck) -> None:
    header, payload, signature = signed(KEY).text.split(".")
    stolen = base64url(b'{"email": "bob@example.org"}')
    assert await check.judge(shown(f"{header}.{stolen}.{signature}")) == WRONG
    assert await check.judge(shown(f"{header}.{payload}.{signature[:-8]}")) == WRONG
    assert await check.judge(shown(f"{header}.{payload}.")) == WRONG


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"x"])
async def test_no_signature_at_all(check: JwtCheck, algorithm: str, signature: bytes) -> None:
    token = jws({"alg": algorithm, "kid": "one"}, GOOD, lambda _: signature)
    assert await check.judge(shown(token)) == Invalid("signed by an algorithm that isn't allowed")


@pytest.mark.parametrize("form", ["pem", "der", "n"])
async def test_a_mac_whose_secret_is_the_public_key(check: JwtCheck, form: str) -> None:
    """The classic: whoever can read the key set could make tokens for everybody."""
    assert isinstance(KEY, RSAKey)
    secret = {"pem": KEY.as_pem(private=False), "der": KEY.as_der(private=False), "n": str(KEY["n"]).encode()}[form]
    token = jws({"alg": "HS256", "kid": "one"}, GOOD, lambda each: hmac.digest(secret, each, hashlib.sha256))
    assert await check.judge(shown(token)) == Invalid("signed by an algorithm that isn't allowed")


async def test_an_algorithm_of_another_kind_of_key(check: JwtCheck) -> None:
    assert await check.judge(signed(private_key("ES256"), algorithm="ES256")) == UNKNOWN


async def test_an_algorithm_that_the_key_is_not_for(issuer: Issuer, check: JwtCheck) -> None:
    issuer.publish(public(KEY, "one", alg="PS256"))
    assert await check.judge(signed(KEY, algorithm="PS256")) == ANN
    assert await check.judge(signed(KEY, algorithm="RS256")) == UNKNOWN


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"\1" * 65, b""])
async def test_a_signature_of_zeros(issuer: Issuer, check: JwtCheck, signature: bytes) -> None:
    """CVE-2022-21449: with r = s = 0 any message was signed."""
    issuer.publish(public(private_key("ES256"), "one"))
    token = jws({"alg": "ES256", "kid": "one"}, GOOD, lambda _: signature)
    assert await check.judge(shown(token)) == WRONG


# -- which key -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kid",
    [
        "two",
        "",
        "ONE",
        "one\0",
        "../../../../dev/null",
        "/dev/null",
        "http://127.0.0.1:1/key",
        "' OR '1'='1",
        "one' UNION SELECT 'x",
        "x" * 2000,
    ],
)
async def test_a_key_that_the_issuer_does_not_have(issuer: Issuer, check: JwtCheck, kid: str) -> None:
    """A name is a name: no file, no URL, no query."""
    assert await check.judge(signed(KEY, kid=kid)) == UNKNOWN
    assert [each.path for each in issuer.requests] == ["/jwks"]


async def test_keys_that_the_token_brings_along(issuer: Issuer, check: JwtCheck) -> None:
    """Whoever made it has them, of course; its URLs would be fetched from inside."""
    own = public(OTHER, "own")
    for more in ({"jwk": own}, {"jku": issuer.jwks_url}, {"x5u": issuer.jwks_url}, {"x5c": ["MIIB"]}):
        assert await check.judge(signed(OTHER, kid="own", **more)) == UNKNOWN
        assert await check.judge(signed(OTHER, **more)) == WRONG
    assert len(issuer.requests) == 1


async def test_no_key_named(issuer: Issuer, check: JwtCheck) -> None:
    issuer.publish(public(OTHER, "other"), public(KEY, "one"), public(private_key("ES256"), "two"))
    assert await check.judge(signed(KEY, kid=None)) == ANN
    assert await check.judge(signed(private_key("RS256", 2), kid=None)) == UNKNOWN


async def test_two_keys_of_one_name(issuer: Issuer, check: JwtCheck) -> None:
    issuer.publish(public(OTHER, "one"), public(KEY, "one"), public(private_key("ES256"), "one"))
    assert await check.judge(signed(KEY)) == ANN
    assert await check.judge(signed(OTHER)) == ANN
    assert await check.judge(signed(private_key("ES256"), algorithm="ES256")) == ANN
    assert await check.judge(signed(private_key("RS256", 2))) == WRONG


@pytest.mark.parametrize("kid", [None, "one"])
async def test_many_keys_that_might_fit(issuer: Issuer, check: JwtCheck, kid: str | None) -> None:
    """Trying each of a hundred keys for anybody's token would hold up every other session."""
    issuer.publish(*[public(KEY, "one")] * 5)
    assert await check.judge(signed(KEY, kid=kid)) == Invalid("doesn't say by which key it is signed")


# -- form ------------------------------------------------------------------------------------------------


def unproved(header: object, payload: object = GOOD) -> AccessToken:
    return shown(jws(header, payload, lambda _: b"x" * 256))


_HEAD: dict[str, Any] = {"alg": "RS256", "kid": "one"}


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "..",
        "a.b",
        "e30.e30.e30",
        "eyJhbGciOiJSUzI1NiJ9",
        "eyJhbGciOiJSUzI1NiJ9.e30",
        "eyJhbGciOiJSUzI1NiJ9.e30.c2ln.c2ln",
        "eyJhbGciOiJSUzI1NiJ9==.e30.c2ln",
        "eyJhbGciOiJSUzI1NiJ.e30.c2ln",
        "eyJhbGciOiJSUzI1NiJ9.e3+/.c2ln",
        "x" * LONGEST_TOKEN,
        "." * LONGEST_TOKEN,
        "eyJ" + "x" * (LONGEST_TOKEN - 9) + ".e30.x",
    ],
)
async def test_garbage(issuer: Issuer, check: JwtCheck, text: str) -> None:
    """And the issuer isn't asked about it."""
    assert await check.judge(shown(text)) == NO_JWT
    assert issuer.requests == []


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"alg":"RS256"}x',
        b"[" * 2500,
        b'{"alg":"RS256","x":' + b"[" * 1200 + b"]" * 1200 + b"}",
        None,
        5,
        "alg",
        "alg b64",
        ["alg"],
        ["alg", "b64"],
        [["alg", "RS256"]],
        {},
        {"kid": "one"},
        _HEAD | {"alg": None},
        _HEAD | {"alg": 5},
        _HEAD | {"alg": ["RS256"]},
        _HEAD | {"alg": {"RS256": 1}},
        _HEAD | {"kid": 5},
        _HEAD | {"kid": ["one"]},
        _HEAD | {"typ": 5},
        _HEAD | {"b64": False},
    ],
)
async def test_headers_that_are_none(check: JwtCheck, header: object) -> None:
    assert await check.judge(unproved(header)) == NO_JWT


@pytest.mark.parametrize(
    "more",
    [
        {"crit": ["exp"], "exp": NOW},
        {"crit": ["b64"], "b64": True},
        {"crit": ["unknown"], "unknown": 1},
        {"crit": []},
        {"crit": None},
        {"crit": 5},
        {"crit": [[]]},
        {"crit": {"alg": 1}},
    ],
)
async def test_extensions_that_must_be_understood(check: JwtCheck, more: dict[str, Any]) -> None:
    """They may say that the token is good only if something else holds too (RFC 7515 4.1.11)."""
    assert await check.judge(signed(KEY, **more)) == Invalid("with an extension that isn't known")


async def test_a_payload_that_is_not_encoded(check: JwtCheck) -> None:
    """RFC 7797 7 forbids it for JWTs."""
    token = signed(KEY, crit=["b64"], b64=False)
    assert await check.judge(token) == Invalid("with an extension that isn't known")


@pytest.mark.parametrize("more", [{"jku": 5}, {"x5c": "MII"}, {"jwk": "x"}, {"x5u": "file:///etc/passwd"}])
async def test_headers_that_are_malformed(check: JwtCheck, more: dict[str, Any]) -> None:
    assert await check.judge(signed(KEY, **more)) == WRONG


@pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "secevent+jwt", "application/jwt/at+jwt", "id"])
async def test_what_its_issuer_signed_for_another_purpose(check: JwtCheck, typ: str) -> None:
    assert await check.judge(signed(KEY, typ=typ)) == Invalid("a JWT that is no access token")


async def test_an_encrypted_one(check: JwtCheck) -> None:
    """It is encrypted with our key set's public key: anybody can do that."""
    text = jwe.encrypt_compact({"alg": "RSA-OAEP", "enc": "A128CBC-HS256", "kid": "one"}, b"{}", KEY)
    assert await check.judge(shown(text)) == NO_JWT


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x",
        b"null",
        b"[]",
        b'"x"',
        b'{"email":"\xff"}',
        b'{"email":"\\ud800"}',
        b'{"exp":NaN}',
        b'{"exp":1e999}',
        b"[" * 9000,
        b'{"a":' * 1900 + b"1" + b"}" * 1900,
    ],
)
async def test_claims_that_are_none(check: JwtCheck, payload: bytes) -> None:
    assert await check.judge(signed(KEY, payload)) == Invalid("its claims are no JSON object")


async def test_of_two_claims_of_a_name_the_last_counts(check: JwtCheck) -> None:
    """RFC 7519 4: or none at all; but never the first for one check and the last for another."""
    payload = f'{{"aud":"{AUDIENCE}","iss":"https://id.example.org/","exp":{NOW + 9},"email":"bob","email":"ann"}}'
    assert await check.judge(signed(KEY, payload.encode())) == Valid("ann", NOW + 9)


# -- what it says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "without a time of expiry"),
        ({"nbf": NOW + 61}, "not valid yet"),
        ({"aud": "https://webmail.example.org"}, "for another audience"),
        ({"iss": "https://other.example.org/"}, "from another issuer"),
        ({"email": "ann\r\nx"}, "of a user who can't be one"),
    ],
)
async def test_a_true_one_that_is_not_for_us_now(check: JwtCheck, changes: dict[str, object], reason: str) -> None:
    assert await check.judge(signed(KEY, GOOD | changes)) == Invalid(reason)


async def test_one_without_the_scope(issuer: Issuer, check: JwtCheck) -> None:
    check = JwtCheck(KeyCache(issuer.jwks_url, fetch), replace(EXPECTED, scope="mail"), now)
    assert await check.judge(signed(KEY)) == Invalid("without the scope", TokenError.INSUFFICIENT_SCOPE)
    assert await check.judge(signed(KEY, GOOD | {"scope": "mail"})) == ANN


# -- the issuer's keys change, or can't be had -----------------------------------------------------------


async def test_rotation(issuer: Issuer, check: JwtCheck, mock_clock: trio.testing.MockClock) -> None:
    assert await check.judge(signed(KEY)) == ANN
    issuer.publish(public(KEY, "one"), public(OTHER, "two"))
    mock_clock.jump(PAUSE)
    assert await check.judge(signed(OTHER, kid="two")) == ANN
    assert await check.judge(signed(KEY)) == ANN
    issuer.publish(public(OTHER, "two"))
    mock_clock.jump(3600)
    assert await check.judge(signed(OTHER, kid="two")) == ANN
    assert await check.judge(signed(KEY)) == UNKNOWN


async def test_rotation_without_names(issuer: Issuer, check: JwtCheck, mock_clock: trio.testing.MockClock) -> None:
    issuer.publish(public(KEY))
    assert await check.judge(signed(KEY, kid=None)) == ANN
    issuer.publish(public(OTHER))
    assert await check.judge(signed(OTHER, kid=None)) == UNKNOWN
    mock_clock.jump(PAUSE)
    assert await check.judge(signed(OTHER, kid=None)) == ANN
    assert await check.judge(signed(KEY, kid=None)) == UNKNOWN


async def test_guesses_do_not_reach_the_issuer(
    issuer: Issuer, check: JwtCheck, mock_clock: trio.testing.MockClock
) -> None:
    for number in range(60):
        assert await check.judge(signed(OTHER, kid=f"guess-{number}")) == UNKNOWN
        assert await check.judge(signed(OTHER)) == WRONG
        mock_clock.jump(1)
    assert len(issuer.requests) == 2


async def test_the_issuer_away(issuer: Issuer, check: JwtCheck, mock_clock: trio.testing.MockClock) -> None:
    """Who can't be judged isn't told that the token is bad: the client would ask its user to log in anew."""
    issuer.status = 503
    away = Unavailable("the issuer's keys: status 503")
    assert await check.judge(signed(KEY)) == away
    issuer.status = 200
    assert await check.judge(signed(KEY)) == away
    mock_clock.jump(PAUSE)
    assert await check.judge(signed(KEY)) == ANN
    issuer.status = 503
    mock_clock.jump(KEPT - 1)
    assert await check.judge(signed(KEY)) == ANN
    assert await check.judge(signed(OTHER)) == WRONG
    assert await check.judge(signed(OTHER, kid="new")) == away
    mock_clock.jump(1)
    assert await check.judge(signed(KEY)) == away


async def test_nothing_of_a_token_is_in_a_verdict(check: JwtCheck) -> None:
    """Verdicts go to the log."""
    texts = [signed(OTHER), signed(OTHER, kid="hunter2"), signed(KEY, typ="hunter2"), signed(KEY, {"iss": "hunter2"})]
    found: list[Verdict] = [await check.judge(each) for each in [*texts, shown("hunter2.hunter2.hunter2")]]
    assert all(isinstance(each, Invalid) and "hunter2" not in repr(each) for each in found)


def test_what_is_allowed_is_what_the_library_has() -> None:
    assert JWSRegistry.algorithms.keys() >= ALGORITHMS
