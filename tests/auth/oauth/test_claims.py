"""A token for somebody else, from somebody else, or of another time opens nothing."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.auth.oauth.issuer import AUDIENCE, EXPECTED, GOOD, ISSUER, NOW
from tlsgate.auth.oauth.claims import LONGEST_CLAIM, SKEW, judge_claims
from tlsgate.auth.oauth.verdict import Invalid, Valid
from tlsgate.dialogue.access_token import TokenError
from tlsgate.dialogue.credentials import LONGEST_USER

MISSING = object()


def judged(**changes: object) -> Valid | Invalid:
    return judge_claims(changed(**changes), EXPECTED, NOW)


def changed(**changes: object) -> dict[str, Any]:
    return {name: value for name, value in (GOOD | changes).items() if value is not MISSING}


def test_a_good_one() -> None:
    assert judged() == Valid("ann@example.org", NOW + 3600)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [AUDIENCE]},
        {"aud": ["https://other.example.org", AUDIENCE]},
        {"jti": MISSING},
        {"iat": MISSING},
        {"iat": NOW + SKEW, "nbf": NOW + SKEW},
        {"exp": NOW - SKEW + 1},
        {"exp": int(NOW) + 1},
        {"email_verified": True},
        {"email_verified": "true"},
        {"email": "x" * LONGEST_USER},
        {"email": "søren@example.org"},
    ],
)
def test_others_that_are_good(changes: dict[str, object]) -> None:
    assert isinstance(judged(**changes), Valid)


@pytest.mark.parametrize(
    "iss", [MISSING, None, "", ISSUER.upper(), ISSUER[:-1], ISSUER + "x", [ISSUER], "https://evil.example.org/", 1]
)
def test_another_issuer(iss: object) -> None:
    assert judged(iss=iss) == Invalid("from another issuer")


@pytest.mark.parametrize(
    "aud",
    [
        MISSING,
        None,
        "",
        [],
        "https://other.example.org",
        AUDIENCE + "/",
        f"{AUDIENCE} https://other.example.org",
        [AUDIENCE + "x", ["x", AUDIENCE]],
        {AUDIENCE: AUDIENCE},
        True,
    ],
)
def test_another_audience(aud: object) -> None:
    """What is replayed here after it was shown to another service is refused."""
    assert judged(aud=aud) == Invalid("for another audience")


@pytest.mark.parametrize("exp", [MISSING, None, "", str(NOW + 3600), True, [NOW], -1, 2**40, 10**4000, 1e300])
def test_one_without_an_end(exp: object) -> None:
    assert judged(exp=exp) == Invalid("without a time of expiry")


@pytest.mark.parametrize("exp", [NOW - SKEW, NOW - SKEW - 1, 0, 0.5])
def test_an_expired_one(exp: float) -> None:
    assert judged(exp=exp) == Invalid("expired")


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("value", [NOW + SKEW + 1, 2**39, None, "0", True, -1, 10**4000])
def test_one_of_the_future(name: str, value: object) -> None:
    assert judged(**{name: value}) == Invalid("not valid yet")


def test_one_that_is_bound_to_a_key() -> None:
    """Stolen from its owner, it is worth nothing (RFC 9449 7.2); here nobody can prove to be the owner."""
    assert judged(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}) == Invalid("bound to a key of its owner")


@pytest.mark.parametrize("email", [MISSING, None, 5, ["ann@example.org"], {}, "x" * (LONGEST_CLAIM + 1)])
def test_one_that_names_nobody(email: object) -> None:
    assert judged(email=email) == Invalid("without the claim that names the user")


@pytest.mark.parametrize("email", ["", " ", "ann\r\na NOOP", "ann\0bob", "ann\u2028", "x" * (LONGEST_USER + 1)])
def test_one_of_a_user_who_cannot_be(email: str) -> None:
    """It would become a second command at a backend, or a second line of a log."""
    assert judged(email=email) == Invalid("of a user who can't be one")


@pytest.mark.parametrize("verified", [False, "false", None, 0, "yes"])
def test_an_address_that_anybody_may_claim(verified: object) -> None:
    assert judged(email_verified=verified) == Invalid("of an address that its issuer hasn't verified")


def test_another_claim_can_name_the_user() -> None:
    expected = replace(EXPECTED, user_claim="preferred_username")
    claims = changed(preferred_username="ann", email=MISSING, email_verified=False)
    assert judge_claims(claims, expected, NOW) == Valid("ann", NOW + 3600)


@pytest.mark.parametrize(
    "scopes", [{"scope": "mail"}, {"scope": "openid mail"}, {"scp": "mail"}, {"scp": ["openid", "mail"]}]
)
def test_the_scope_that_is_asked_for(scopes: dict[str, object]) -> None:
    assert isinstance(judge_claims(changed(**scopes), replace(EXPECTED, scope="mail"), NOW), Valid)


@pytest.mark.parametrize("scopes", [{}, {"scope": ""}, {"scope": "mailbox e.mail"}, {"scope": {"mail": 1}}, {"scp": 1}])
def test_without_the_scope(scopes: dict[str, object]) -> None:
    found = judge_claims(changed(**scopes), replace(EXPECTED, scope="mail"), NOW)
    assert found == Invalid("without the scope", TokenError.INSUFFICIENT_SCOPE)


def test_claims_that_the_caller_wants_to_see() -> None:
    expected = replace(EXPECTED, kept=("tenant", "jti", "number", "long"))
    found = judge_claims(changed(tenant="red", number=5, long="x" * (LONGEST_CLAIM + 1)), expected, NOW)
    assert isinstance(found, Valid)
    assert found.claims == {"tenant": "red", "jti": "once"}
    assert "red" not in repr(found)
