"""Tokens that let nobody in, each by its name, for each protocol and mechanism, through a gate that goes by a config.

Beside each the good one that differs from it by nothing else: the fault alone is what is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from tests.auth.oauth.issuer import base64url, jws, private_key, signed
from tests.auth_configs import ALONE, ANN
from tests.judged import Judged, good_claims, good_token, judged
from tests.mechanism_logins import GRANTED, REFUSED, begins
from tests.mechanism_table import Shown
from tests.sasl_client import sasl
from tests.test_session import each_protocol
from tlsgate.config import Protocol

pytestmark = pytest.mark.timeout(60)

JWT, OPAQUE = (next(each for each in ALONE if each.name == name) for name in ("oauth-jwt", "oauth-introspection"))
EXPIRED = {Protocol.IMAP: b"a NO [EXPIRED] ", Protocol.POP3: b"-ERR [AUTH] ", Protocol.SUBMISSION: b"535 5.7.8 "}
KEY = private_key("ES256")
each_token_mechanism = pytest.mark.parametrize("mechanism", Shown.TOKEN.value)


def _with(**claims: object) -> str:
    """A good one but for that; None: without the claim."""
    said = {name: value for name, value in (good_claims() | claims).items() if value is not None}
    return signed(KEY, said, "ES256").text


def _unsigned(algorithm: str) -> str:
    return jws({"alg": algorithm, "kid": "one"}, good_claims(), lambda _: b"")


def _by_the_public_key() -> str:
    assert isinstance(KEY, ECKey)
    secret = KEY.as_pem(private=False)
    return jws({"alg": "HS256", "kid": "one"}, good_claims(), lambda text: hmac.digest(secret, text, hashlib.sha256))


def _changed() -> str:
    """Bob's, in which he has written Ann."""
    header, _, signature = _with(email="bob@example.org").split(".")
    return f"{header}.{good_token().split('.')[1]}.{signature}"


def _cut(octets: int) -> str:
    return good_token()[:-octets]


# What the log says of each; the client hears no more than that it isn't taken.
JWTS: dict[str, tuple[Callable[[], str], str]] = {
    "of-another-key": (
        lambda: signed(private_key("ES256", 1), good_claims(), "ES256").text,
        "its signature is wrong",
    ),
    "of-an-unknown-key": (
        lambda: signed(private_key("ES256", 1), good_claims(), "ES256", "two").text,
        "signed by no key of the issuer",
    ),
    "expired": (lambda: _with(exp=time.time() - 90), "expired"),
    "without-expiry": (lambda: _with(exp=None), "without a time of expiry"),
    "not-valid-yet": (lambda: _with(nbf=time.time() + 90), "not valid yet"),
    "foreign-audience": (lambda: _with(aud="https://web.example.org"), "for another audience"),
    "without-audience": (lambda: _with(aud=None), "for another audience"),
    "foreign-issuer": (lambda: _with(iss="https://id.example.net/"), "from another issuer"),
    "without-user": (lambda: _with(email=None), "without the claim that names the user"),
    "unverified-address": (lambda: _with(email_verified=False), "of an address that its issuer hasn't verified"),
    "somebody-elses": (lambda: _with(email="bob@example.org"), "the token is somebody else's"),
    "bound-to-a-key": (lambda: _with(cnf={"jkt": "x"}), "bound to a key of its owner"),
    "alg-none": (lambda: _unsigned("none"), "signed by an algorithm that isn't allowed"),
    "alg-NONE": (lambda: _unsigned("NONE"), "signed by an algorithm that isn't allowed"),
    "alg-hs256-by-the-public-key": (_by_the_public_key, "signed by an algorithm that isn't allowed"),
    "changed": (_changed, "its signature is wrong"),
    "cut": (lambda: _cut(8), "its signature is wrong"),
    "without-signature": (lambda: good_token().rpartition(".")[0] + ".", "its signature is wrong"),
    "an-id-token": (
        lambda: signed(KEY, good_claims(), "ES256", typ="id_token+jwt").text,
        "a JWT that is no access token",
    ),
    "opaque": (lambda: "opaque", "no signed JWT"),
    "with-claims-that-are-none": (lambda: signed(KEY, b"[]", "ES256").text, "its claims are no JSON object"),
    "of-base64-alone": (lambda: ".".join(base64url(b"{}") for _ in range(3)), "no signed JWT"),
}
ANSWERS: dict[str, tuple[dict[str, object], str]] = {
    "not-active": ({"active": False}, "not active"),
    "expired": ({"exp": 1}, "expired"),
    "not-valid-yet": ({"nbf": 9_999_999_999}, "not valid yet"),
    "foreign-audience": ({"aud": "https://web.example.org"}, "for another audience"),
    "foreign-issuer": ({"iss": "https://id.example.net/"}, "from another issuer"),
    "without-user": ({"email": ""}, "of a user who can't be one"),
    "somebody-elses": ({"email": "bob@example.org"}, "the token is somebody else's"),
}


async def _refused(it: Judged, protocol: Protocol, mechanism: str, bad: str, good: str, why: str) -> None:
    ann = await sasl(it.gate)
    challenge = ann.told(await begins(ann, protocol, mechanism, ANN, bad))
    assert b"invalid_token" in challenge or b'"401"' in challenge
    # No word of why: it would tell a forger what to try next.
    assert why == "expired" or why.encode() not in challenge
    said = await ann.respond(b"\x01")
    assert said.startswith((EXPIRED[protocol],) if why == "expired" else REFUSED[protocol]), said
    failed = [values for session in it.gate.trace.sessions for values in session.of("auth_failed")]
    assert failed == [(mechanism, ANN, why)]
    assert it.server.talks == []
    assert bad not in repr([session.calls for session in it.gate.trace.sessions])
    assert (await begins(ann, protocol, mechanism, ANN, good)).startswith(GRANTED[protocol])


@each_protocol
@each_token_mechanism
@pytest.mark.parametrize("name", JWTS)
async def test_a_jwt_is_refused_that_is(name: str, mechanism: str, protocol: Protocol, tmp_path: Path) -> None:
    token, why = JWTS[name]
    async with judged(tmp_path, JWT, protocol, "stored", Shown.TOKEN.value) as it:
        await _refused(it, protocol, mechanism, token(), good_token(), why)


@each_protocol
@each_token_mechanism
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_opaque_token_is_refused_that_is(
    name: str, mechanism: str, protocol: Protocol, tmp_path: Path
) -> None:
    claims, why = ANSWERS[name]
    async with judged(tmp_path, OPAQUE, protocol, "stored", Shown.TOKEN.value) as it:
        it.issuer.answers["bad"] = good_claims() | claims
        await _refused(it, protocol, mechanism, "bad", "opaque", why)


@each_protocol
@each_token_mechanism
async def test_an_opaque_one_is_refused_that_the_issuer_does_not_know(
    mechanism: str, protocol: Protocol, tmp_path: Path
) -> None:
    async with judged(tmp_path, OPAQUE, protocol, "stored", Shown.TOKEN.value) as it:
        await _refused(it, protocol, mechanism, "unknown", "opaque", "not active")


@each_protocol
@each_token_mechanism
@pytest.mark.parametrize("token", ["", " ", "a b", "a\x7fb", "ä", "x\x01auth=Bearer y"])
async def test_what_can_be_no_token_is_refused_and_nobody_is_asked_about_it(
    token: str, mechanism: str, protocol: Protocol, tmp_path: Path
) -> None:
    """Whatever the issuer would say of it: it would go there in a form that may be read in two ways."""
    async with judged(tmp_path, OPAQUE, protocol, "stored", Shown.TOKEN.value) as it:
        ann = await sasl(it.gate)
        said = await begins(ann, protocol, mechanism, ANN, token)
        if said.startswith((b"+ ", b"334 ")):
            said = await ann.respond(b"\x01")
        assert not said.startswith(GRANTED[protocol])
        assert it.issuer.requests == [] and it.server.talks == []
