"""An issuer's keys (RFC 7517): those that can check a signature, and what each may check."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import msgspec
from joserfc.jwk import JWKRegistry, Key

from tlsgate.auth.oauth.exchange import LARGEST_ANSWER

MOST_KEYS = 100

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# By "kty" and "crv": the key decides what it may check, never the token. No "none", no HMAC (RFC 8725 3.1, 3.2).
_ALGORITHMS: dict[tuple[str, str], frozenset[str]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
}
ALGORITHMS = frozenset().union(*_ALGORITHMS.values())
# A shorter modulus can be broken; a longer one, or a long exponent, would take milliseconds.
_MODULUS = range(2048, 8192 + 1)
_LONGEST_EXPONENT = 32


class KeySetFault(ValueError):
    """Content that is no set of keys, or none that is of use. The text says why."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, its name if it has one, and the algorithms that it may check."""

    kid: str | None
    algorithms: frozenset[str]
    key: Key = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    keys: tuple[IssuerKey, ...]

    def fitting(self, kid: str | None, algorithm: str) -> tuple[IssuerKey, ...]:
        """Those that a token so named may be signed by. One that names no key may be by any; names may be shared."""
        return tuple(each for each in self.keys if algorithm in each.algorithms and (kid is None or each.kid == kid))


class _Set(msgspec.Struct):
    keys: list[msgspec.Raw]


class _Jwk(msgspec.Struct):
    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    n: str = ""
    e: str = ""
    crv: str = ""
    x: str = ""
    y: str = ""
    d: object = None


def read_key_set(content: bytes) -> KeySet:
    """The keys of a JWK Set that can check a signature; others in it are left out (RFC 7517 5). Raises KeySetFault.

    Takes milliseconds: not for the trio loop.
    """
    if len(content) > LARGEST_ANSWER:
        raise KeySetFault(f"is larger than {LARGEST_ANSWER // 1024} KiB")
    try:
        entries = msgspec.json.decode(content, type=_Set).keys
    except (ValueError, RecursionError):
        raise KeySetFault("is no JWK Set") from None
    if len(entries) > MOST_KEYS:
        raise KeySetFault(f"holds more than {MOST_KEYS} keys")
    keys = tuple(key for each in entries if (key := _issuer_key(each)) is not None)
    if not keys:
        raise KeySetFault("holds no key that can check a signature")
    return KeySet(keys)


def _issuer_key(entry: msgspec.Raw) -> IssuerKey | None:
    try:
        jwk = msgspec.json.decode(entry, type=_Jwk)
    except (ValueError, RecursionError):
        return None
    algorithms = _ALGORITHMS.get((jwk.kty, jwk.crv), frozenset())
    if jwk.alg is not None:
        algorithms &= {jwk.alg}
    checks = jwk.use in (None, "sig") and (jwk.key_ops is None or "verify" in jwk.key_ops)
    # With its private part, anybody can sign by it.
    if not algorithms or not checks or jwk.d is not None:
        return None
    members = {name: text for name in ("kty", "n", "e", "crv", "x", "y") if (text := getattr(jwk, name))}
    try:
        if jwk.kty == "RSA" and (_bits(jwk.n) not in _MODULUS or _bits(jwk.e) > _LONGEST_EXPONENT):
            return None
        return IssuerKey(jwk.kid, algorithms, JWKRegistry.import_key(members))
    except Exception:  # noqa: BLE001 - a point off its curve, a member missing: each in another library's own words
        return None


def _bits(number: str) -> int:
    """Of a Base64urlUInt (RFC 7518 2). Raises ValueError."""
    return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()
