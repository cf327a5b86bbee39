"""Whatever an issuer publishes: only keys that can check a signature count, each for its own algorithms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from tests.auth.oauth.issuer import base64url, key_set, private_key, public
from tlsgate.auth.oauth.exchange import LARGEST_ANSWER
from tlsgate.auth.oauth.jwk import ALGORITHMS, MOST_KEYS, KeySetFault, read_key_set

RSA = public(private_key("RS256"), "one")
P256 = public(private_key("ES256"), "two")
ED25519 = public(private_key("EdDSA"), "three")
_OF_RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def test_nothing_that_an_outsider_could_sign_with() -> None:
    assert all(name[:2] in ("RS", "PS", "ES", "Ed") for name in ALGORITHMS)


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        (RSA, _OF_RSA),
        (RSA | {"alg": "PS256"}, {"PS256"}),
        (RSA | {"use": "sig", "key_ops": ["verify"]}, _OF_RSA),
        (RSA | {"x5c": ["MII"], "unknown": {}}, _OF_RSA),
        (P256, {"ES256"}),
        (public(private_key("ES384")), {"ES384"}),
        (public(private_key("ES512")), {"ES512"}),
        (ED25519, {"EdDSA", "Ed25519"}),
    ],
)
def test_what_a_key_may_check(entry: dict[str, Any], algorithms: set[str]) -> None:
    (found,) = read_key_set(key_set(entry)).keys
    assert found.kid == entry.get("kid")
    assert found.algorithms == algorithms


_UNUSABLE: dict[str, object] = {
    "no object": 5,
    "nothing": {},
    "kid is a number": RSA | {"kid": 5},
    "symmetric": {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
    "symmetric under another name": RSA | {"alg": "HS256"},
    "none": RSA | {"alg": "none"},
    "for encryption": RSA | {"use": "enc"},
    "for encryption by its algorithm": RSA | {"alg": "RSA-OAEP"},
    "for other operations": RSA | {"key_ops": ["encrypt"]},
    "private": RSA | {"d": "AQAB"},
    "short": RSA | {"n": base64url(b"\xff" * 128)},
    "short behind zeros": RSA | {"n": base64url(b"\0" * 200 + b"\xff" * 128)},
    "long": RSA | {"n": base64url(b"\xff" * 1025)},
    "with a long exponent": RSA | {"e": base64url((2**64 + 13).to_bytes(9))},
    "with an exponent of 1": RSA | {"e": "AQ"},
    "with an even exponent": RSA | {"e": "BA"},
    "no base64": RSA | {"n": "é" * 400},
    "without a modulus": {"kty": "RSA", "e": "AQAB"},
    "off its curve": P256 | {"y": P256["x"]},
    "of a curve for money": P256 | {"crv": "secp256k1"},
    "of an unknown curve": P256 | {"crv": "P-999"},
    "without a point": {"kty": "EC", "crv": "P-256"},
    "of a curve for agreement": ED25519 | {"crv": "X25519"},
    "of the wrong length": ED25519 | {"x": "AQAB"},
    "of an unknown kind": {"kty": "ML-DSA", "x": "AQAB"},
}


@pytest.mark.parametrize("entry", _UNUSABLE.values(), ids=_UNUSABLE.keys())
def test_a_key_that_cannot_be_used_is_left_out(entry: object) -> None:
    """And doesn't take the others with it (RFC 7517 5)."""
    (found,) = read_key_set(key_set(entry, P256)).keys
    assert found.kid == "two"
    with pytest.raises(KeySetFault, match="holds no key"):
        read_key_set(key_set(entry))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JWK Set"),
        (b"<html>", "no JWK Set"),
        (b"[]", "no JWK Set"),
        (b'{"keys": {}}', "no JWK Set"),
        (b'{"keys": 5}', "no JWK Set"),
        (b'{"keys": [' + b"[" * 100_000, "no JWK Set"),
        (b'{"keys": [{"kty":"RSA","d":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}", "no "),
        (b'{"keys": ["\xff"]}', "no "),
        (b'{"keys": []}', "no key"),
        (key_set(P256) + b" " * LARGEST_ANSWER, "larger"),
        (key_set(*[P256] * (MOST_KEYS + 1)), "more than"),
        (json.dumps([P256]).encode(), "no JWK Set"),
    ],
)
def test_content_that_is_no_set_of_keys(content: bytes, why: str) -> None:
    with pytest.raises(KeySetFault, match=why):
        read_key_set(content)


def test_a_name_may_be_shared_and_may_be_missing() -> None:
    keys = read_key_set(key_set(RSA, P256 | {"kid": "one"}, public(private_key("ES256", 1))))
    assert [each.kid for each in keys.fitting("one", "RS256")] == ["one"]
    assert [each.kid for each in keys.fitting("one", "ES256")] == ["one"]
    assert [each.kid for each in keys.fitting(None, "ES256")] == ["one", None]
    assert keys.fitting("two", "ES256") == ()
    assert keys.fitting("one", "HS256") == ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)
_MEMBERS = st.sampled_from([*RSA, *P256, "d", "use", "key_ops", "alg"])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([RSA, P256, ED25519]), st.dictionaries(_MEMBERS, _JSON, max_size=4))
def test_any_entry_is_a_key_or_left_out(entry: dict[str, Any], changes: dict[str, Any]) -> None:
    """One entry that can't be read must not lock everybody out."""
    assert read_key_set(key_set(P256, entry | changes)).keys[0].kid == "two"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | _JSON.map(lambda each: json.dumps({"keys": each}).encode()))
def test_any_content_is_a_set_or_a_fault(content: bytes) -> None:
    try:
        read_key_set(content)
    except KeySetFault:
        pass


def test_no_symmetric_key_gets_in_by_the_name_of_another_kind() -> None:
    entry = {name: value for name, value in OctKey.generate_key(256).as_dict(private=True).items() if name != "kid"}
    with pytest.raises(KeySetFault):
        read_key_set(key_set(entry | {"kty": "RSA"}, entry | {"kty": "EC", "crv": "P-256"}))
