"""Access tokens: opaque ones, JWTs by anybody, and claims that an issuer has signed."""

from __future__ import annotations

import json
from functools import cache

from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from tlsgate.auth.oauth.claims import Expected, judge_claims
from tlsgate.auth.oauth.introspection import _verdict
from tlsgate.auth.oauth.jwk import KeySet, read_key_set
from tlsgate.auth.oauth.jwt import _read, _verify
from tlsgate.auth.oauth.token import access_token
from tlsgate.auth.oauth.verdict import Invalid, Unavailable, Valid, Verdict
from tlsgate.dialogue.challenge import encode

_EXPECTED = Expected("https://id.example.org/", "https://mail.example.org", "email", "mail", ("name",))
_NOW = 1_800_000_000.0


@cache
def _key() -> ECKey:
    return ECKey.generate_key("P-256", private=True)


@cache
def _keys() -> KeySet:
    return read_key_set(json.dumps({"keys": [_key().as_dict(private=False)]}).encode())


def fuzz(data: bytes) -> None:
    header, _, payload = data.partition(b"\n")
    for text in (data, _compact(header, payload, b"x"), _compact(b'{"alg":"ES256"}', data, None)):
        token = access_token(text)
        if token is None:
            continue
        signed = _read(token)
        if isinstance(signed, Invalid):
            continue
        claims = _verify(signed, _keys())
        if claims is not None and not isinstance(claims, Invalid):
            assert text.startswith(_compact(b'{"alg":"ES256"}', data, b"")[:-1])  # nobody else has our key
            _check(judge_claims(claims, _EXPECTED, _NOW))
    _check(_verdict(data, _EXPECTED, _NOW))


def _compact(header: bytes, payload: bytes, signature: bytes | None) -> bytes:
    """A JWS of these octets; ``signature`` None: signed by the issuer."""
    signed = _base64url(header) + b"." + _base64url(payload)
    if signature is None:
        signature = JWSRegistry.algorithms["ES256"].sign(signed, _key())
    return signed + b"." + _base64url(signature)


def _base64url(data: bytes) -> bytes:
    return encode(data).rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))


def _check(verdict: Verdict) -> None:
    match verdict:
        case Valid(user, expires):
            assert user.strip()
            assert not any(each in user for each in "\0\r\n")
            assert expires > 0
        case Invalid(reason) | Unavailable(reason):
            assert reason.isprintable()
