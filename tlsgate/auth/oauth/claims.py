"""What an issuer says of a token (RFC 7519 4.1, RFC 9068 2.2, RFC 7662 2.2): is it for us, now, and who is it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from tlsgate.auth.oauth.verdict import Invalid, Valid
from tlsgate.dialogue.access_token import TokenError
from tlsgate.dialogue.credentials import Credentials, CredentialsError

# How far the issuer's clock and ours may be apart, in seconds.
SKEW = 60.0
LONGEST_CLAIM = 1024
EXPIRED = "expired"
"""The reason of a token that was good, and isn't any more."""
_LAST_TIME = 2**40  # and some ten thousand years from being a float's infinity


class Expected(Struct, frozen=True):
    """``scope``: one that the token must have, "" for none. ``kept``: names of claims that the caller wants to see.

    ``user_claim``: the claim that names the user. Whoever chooses it trusts the issuer that nobody chooses its value
    for themselves.
    """

    issuer: str
    audience: str
    user_claim: str
    scope: str = ""
    kept: tuple[str, ...] = ()


def judge_claims(claims: Mapping[str, object], expected: Expected, now: float) -> Valid | Invalid:
    """``claims``: as the issuer made them, that is proved already. ``now``: Unix time."""
    if claims.get("iss") != expected.issuer:
        return Invalid("from another issuer")
    if not _is_for(claims.get("aud"), expected.audience):
        return Invalid("for another audience")
    expires = _time(claims.get("exp"))
    if expires is None:
        return Invalid("without a time of expiry")
    if now >= expires + SKEW:
        return Invalid(EXPIRED)
    for name in ("nbf", "iat"):
        if name in claims and ((begins := _time(claims[name])) is None or now < begins - SKEW):
            return Invalid("not valid yet")
    if "cnf" in claims:
        # RFC 7800: good only in the hands of whoever has a key, which no SASL mechanism lets us see.
        return Invalid("bound to a key of its owner")
    user = _user(claims, expected.user_claim)
    if isinstance(user, Invalid):
        return user
    if expected.scope and expected.scope not in _scopes(claims):
        return Invalid("without the scope", TokenError.INSUFFICIENT_SCOPE)
    kept = {name: text for name in expected.kept if (text := _text(claims.get(name))) is not None}
    return Valid(user, expires, MappingProxyType(kept))


def _is_for(audiences: object, ours: str) -> bool:
    """RFC 7519 4.1.3: one string, or a list of them."""
    return ours == audiences or (isinstance(audiences, list) and ours in audiences)


def _time(value: object) -> float | None:
    """A NumericDate (RFC 7519 2) in seconds; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_TIME:
        return None
    return float(value)


def _user(claims: Mapping[str, object], name: str) -> str | Invalid:
    user = _text(claims.get(name))
    if user is None:
        return Invalid("without the claim that names the user")
    if name == "email" and claims.get("email_verified", True) not in (True, "true"):
        return Invalid("of an address that its issuer hasn't verified")  # anybody may claim anybody's
    try:
        return Credentials(user, b"any").user
    except CredentialsError:
        return Invalid("of a user who can't be one")


def _scopes(claims: Mapping[str, object]) -> list[object]:
    """RFC 9068 2.2.3; "scp", as text or a list, is what Microsoft and Okta write."""
    scopes = claims.get("scope", claims.get("scp"))
    if isinstance(scopes, str):
        return [*scopes.split(" ")]
    return scopes if isinstance(scopes, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= LONGEST_CLAIM else None
