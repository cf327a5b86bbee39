"""Access tokens that are JWTs (RFC 7519, RFC 9068), checked with their issuer's keys and RFC 8725 in mind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact
from msgspec import Struct

from tlsgate.auth.oauth.claims import Expected, judge_claims
from tlsgate.auth.oauth.jwk import ALGORITHMS, KeySet
from tlsgate.auth.oauth.key_cache import KeyCache
from tlsgate.auth.oauth.token import AccessToken
from tlsgate.auth.oauth.verdict import Invalid, Unavailable, Verdict
from tlsgate.dialogue.access_token import LONGEST_TOKEN

# Who doesn't name a key has few: each is tried, and each costs up to a millisecond.
_MOST_TRIED = 4
# RFC 9068 2.1; "JWT" and none are what most issuers write. Others are no access tokens (RFC 8725 3.11).
_TYPES = frozenset({"", "jwt", "at+jwt"})


class _Registry(JWSRegistry):
    """Ours: without the warning for "EdDSA", which RFC 9864 deprecates and issuers use."""

    max_header_length = 4096
    max_payload_length = LONGEST_TOKEN
    max_signature_length = 1366  # of RSA with 8192 bits

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


_REGISTRY = _Registry(strict_check_header=False)  # what isn't known is to be ignored (RFC 7515 4)


class _Header(msgspec.Struct):
    """``kid`` is compared with our keys' names and is nothing else; URLs and keys in a header are never looked at."""

    alg: str
    kid: str | None = None
    typ: str = ""


class _Signed(Struct, frozen=True):
    jws: CompactSignature
    header: _Header


class JwtCheck:
    """``now``: Unix time."""

    def __init__(self, keys: KeyCache, expected: Expected, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._expected = expected
        self._now = now

    async def judge(self, token: AccessToken) -> Verdict:
        """Whether it is good. Waits for the issuer's keys; a token that none of them fits has them fetched again."""
        signed = _read(token)
        if isinstance(signed, Invalid):
            return signed
        keys = await self._keys.current()
        if keys is None:
            return Unavailable(f"the issuer's keys: {self._keys.trouble}")
        found = _verify(signed, keys)
        if found is None:
            newer = await self._keys.newer()
            if newer is not None and newer is not keys:
                found = _verify(signed, newer)
        if found is None:
            if self._keys.trouble:  # it may be signed by a new key that we can't get
                return Unavailable(f"the issuer's keys: {self._keys.trouble}")
            return Invalid("signed by no key of the issuer")
        return found if isinstance(found, Invalid) else judge_claims(found, self._expected, self._now())


def _read(token: AccessToken) -> _Signed | Invalid:
    """Its parts; nothing in them is proved yet."""
    try:
        jws = extract_compact(token.text.encode(), registry=_REGISTRY)
        headers = jws.headers()
        if "crit" in headers:
            return Invalid("with an extension that isn't known")  # RFC 7515 4.1.11: none is
        header = msgspec.convert(headers, _Header)
    # The last two are joserfc's, for a header that is JSON but no object, or is nested deeply.
    except (JoseError, ValueError, TypeError, RecursionError):
        return Invalid("no signed JWT")
    if header.typ.lower().removeprefix("application/") not in _TYPES:
        return Invalid("a JWT that is no access token")
    if header.alg not in ALGORITHMS:
        return Invalid("signed by an algorithm that isn't allowed")
    return _Signed(jws, header)


def _verify(signed: _Signed, keys: KeySet) -> Mapping[str, object] | Invalid | None:
    """The claims, if a key of these has signed them. None: another key may have."""
    header = signed.header
    fitting = keys.fitting(header.kid, header.alg)
    if len(fitting) > _MOST_TRIED:
        return Invalid("doesn't say by which key it is signed")
    if not any(_is_signed_by(signed.jws, each.key) for each in fitting):
        return Invalid("its signature is wrong") if fitting and header.kid is not None else None
    try:
        return msgspec.json.decode(signed.jws.payload, type=dict[str, object])
    except (ValueError, RecursionError):
        return Invalid("its claims are no JSON object")


def _is_signed_by(jws: CompactSignature, key: Any) -> bool:
    try:
        return validate_compact(jws, key, registry=_REGISTRY)
    except JoseError:  # a header that is malformed
        return False
