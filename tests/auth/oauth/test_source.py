"""Whose token it is that a client has shown, and what is said of one that isn't its own."""

from __future__ import annotations

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.auth.attempts import attempt
from tests.auth.oauth.issuer import AUDIENCE, ISSUER, NOW, Issuer, fetch, now, post, private_key, signed
from tlsgate.auth.judgement import Judgement, Right
from tlsgate.auth.judgement import Unavailable as NotNow
from tlsgate.auth.oauth.check import TokenCheck
from tlsgate.auth.oauth.claims import Expected
from tlsgate.auth.oauth.client import Client
from tlsgate.auth.oauth.exchange import PATIENCE
from tlsgate.auth.oauth.introspection import Introspection
from tlsgate.auth.oauth.jwt import JwtCheck
from tlsgate.auth.oauth.key_cache import KeyCache
from tlsgate.auth.oauth.source import ByToken
from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused, Shown
from tlsgate.dialogue.proofs import Proven

GOOD = {"active": True, "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "email": "ann@example.org", "scope": "mail"}
NOT_HERS = Refused(Refusal.AUTHENTICATION_FAILED, why="the token is somebody else's")


class Source:
    """The source, before an issuer that says one thing of the token "token"."""

    def __init__(self, issuer: Issuer, claims: object = GOOD, default_domain: str = "", pool_claim: str = "") -> None:
        issuer.answers["token"] = claims
        kept = (pool_claim,) if pool_claim else ()
        expected = Expected(ISSUER, AUDIENCE, "email", "mail", kept)
        asking = Introspection(issuer.introspection_url, Client("gate", "secret"), post, expected, now)
        self._source = ByToken(TokenCheck(None, asking), pool_claim, default_domain)

    async def ask(self, authzid: str = "") -> Judgement | None:
        return await self._source(attempt(BearerToken("token", authzid), "OAUTHBEARER"))

    async def of(self, shown: Shown) -> Judgement | None:
        return await self._source(attempt(shown))


@pytest.mark.parametrize("authzid", ["", "ann@example.org", "Ann@Example.ORG"])
async def test_a_token_is_its_owners(issuer: Issuer, authzid: str) -> None:
    """Who it is says the issuer, in its own way to write it: limits and the log know one name."""
    assert await Source(issuer).ask(authzid) == Right("ann@example.org")


@pytest.mark.parametrize("by_keys", [False, True])
async def test_no_answer_is_waited_for_beyond_the_clients_time(
    issuer: Issuer, mock_clock: MockClock, by_keys: bool
) -> None:
    """A session would outlive its time to log in, and its client gets no answer; the token is as good as it was."""
    issuer.held = trio.Event()
    expected = Expected(ISSUER, AUDIENCE, "email")
    asking = Introspection(issuer.introspection_url, Client("gate", "secret"), post, expected, now)
    keys = JwtCheck(KeyCache(issuer.jwks_url, fetch), expected, now)
    source = ByToken(TokenCheck(keys if by_keys else None, None if by_keys else asking))
    token = signed(private_key("ES256"), algorithm="ES256").text
    tried = replace(attempt(BearerToken(token), "OAUTHBEARER"), deadline=trio.current_time() + PATIENCE - 1)
    found: list[Judgement | None] = []

    async def ask() -> None:
        found.append(await source(tried))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await issuer.arrived.wait()
        mock_clock.jump(PATIENCE - 1)
    assert found == [NotNow("oauth: no answer in the client's time to log in")]


@pytest.mark.parametrize("authzid", ["bob@example.org", "ann", "ann@example.org.test", "ann@example.org "])
async def test_nobody_else_gets_in_by_it(issuer: Issuer, authzid: str) -> None:
    assert await Source(issuer).ask(authzid) == NOT_HERS


@pytest.mark.parametrize(
    ("owner", "authzid", "found"),
    [
        ("ann", "ann@example.org", Right("ann@example.org")),
        ("ann", "", Right("ann@example.org")),
        ("ann@EXAMPLE.org", "ann@example.org", Right("ann@example.org")),
        ("ann@other.test", "ann@example.org", NOT_HERS),
        ("ann@other.test", "", Right("ann@other.test")),
    ],
)
async def test_an_owner_without_a_domain_has_the_default_one(
    issuer: Issuer, owner: str, authzid: str, found: Judgement
) -> None:
    """What the client says has it by then: without it a claim of names alone would fit nobody."""
    assert await Source(issuer, GOOD | {"email": owner}, "example.org").ask(authzid) == found


async def test_the_claims_pool(issuer: Issuer) -> None:
    assert await Source(issuer, GOOD | {"where": "imap2"}, pool_claim="where").ask() == Right(
        "ann@example.org", pool="imap2"
    )
    assert await Source(issuer, pool_claim="where").ask() == Right("ann@example.org")
    assert await Source(issuer, GOOD | {"where": "imap2"}).ask() == Right("ann@example.org")


async def test_what_a_client_is_told_of_a_token_that_is_not_taken(issuer: Issuer) -> None:
    """A token without the scope is good for something else: a new one of the same kind would be no better."""
    narrow = await Source(issuer, GOOD | {"scope": "web"}).ask()
    assert isinstance(narrow, Refused) and narrow.reason is Refusal.AUTHORIZATION_FAILED
    bad = await Source(issuer, {"active": False}).ask()
    assert isinstance(bad, Refused) and bad.reason is Refusal.AUTHENTICATION_FAILED
    for each in (narrow, bad):
        assert each.why and each.text == "" and "token" not in each.why.split()


async def test_a_token_that_was_good_is_no_guess(issuer: Issuer) -> None:
    """A telephone that comes out of a tunnel shows it once more, and must not be banned for it."""
    expired = await Source(issuer, GOOD | {"exp": NOW - 3600}).ask()
    assert expired == Refused(Refusal.EXPIRED, "Token expired", why="expired")


async def test_an_issuer_that_can_not_be_asked_makes_no_token_bad(issuer: Issuer) -> None:
    issuer.status = 503
    found = await Source(issuer).ask()
    assert isinstance(found, NotNow), found
    assert found.reason.startswith("oauth: ") and found.reason.endswith("status 503")


@pytest.mark.parametrize("shown", [Credentials("ann", b"token"), Proven("ann")])
async def test_passwords_are_for_others(issuer: Issuer, shown: Shown) -> None:
    """A password in the token's place would be shown to the issuer."""
    assert await Source(issuer).of(shown) is None
    assert issuer.requests == []
