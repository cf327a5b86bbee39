"""Tokens that were good: a phone that comes back with one is no guesser, and must not be banned with its network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from trio.testing import MockClock

from tests.auth.oauth.issuer import AUDIENCE, ISSUER, NOW, issuing, now, post
from tests.gate import Gate, gate, pool_of
from tests.sasl_client import sasl
from tlsgate import config
from tlsgate.admission.rules import AddressRules
from tlsgate.auth.chain import chain
from tlsgate.auth.oauth.check import TokenCheck
from tlsgate.auth.oauth.claims import SKEW, Expected
from tlsgate.auth.oauth.client import Client
from tlsgate.auth.oauth.introspection import Introspection
from tlsgate.auth.oauth.source import ByToken
from tlsgate.config import HostPort, Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

GOOD = {"active": True, "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "email": "ann@example.org", "scope": "mail"}
FAILURES = 3


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits, also for what the kernel carries between us and the issuer."""
    return MockClock(autojump_threshold=0.1)


@asynccontextmanager
async def serving(**claims: object) -> AsyncIterator[Gate]:
    """A gate whose issuer says the same of every token."""
    async with issuing() as issuer:
        issuer.answers |= {f"token{number}": GOOD | claims for number in range(2 * FAILURES)}
        expected = Expected(ISSUER, AUDIENCE, "email", "mail")
        asking = Introspection(issuer.introspection_url, Client("gate", "secret"), post, expected, now)
        async with gate(
            Protocol.IMAP,
            TlsMode.IMPLICIT,
            pool_of(HostPort("127.0.0.1", 1)),
            judge=chain([ByToken(TokenCheck(None, asking))]),
            mechanisms=("OAUTHBEARER", "XOAUTH2"),
            rules=AddressRules(),
            bans=config.Bans(failures=FAILURES),
        ) as running:
            yield running


@pytest.mark.parametrize(
    ("claims", "status", "words"),
    [
        ({"exp": NOW - SKEW - 1}, "invalid_token", b"a NO [EXPIRED] "),
        ({"scope": "web"}, "insufficient_scope", b"a NO [AUTHORIZATIONFAILED] "),
    ],
)
async def test_what_an_issuer_has_made_is_no_guess(
    clock: MockClock, claims: dict[str, object], status: str, words: bytes
) -> None:
    """Many phones behind one address, which all come back in the morning, are no attack. Each is told what to do."""
    async with serving(**claims) as running:
        for number in range(2 * FAILURES):
            phone = await sasl(running)
            said = json.loads(phone.told(await phone.bearer(f"token{number}", "ann@example.org")))
            assert said["status"] == status
            assert (await phone.respond(b"\x01")).startswith(words)
            phone.client.close()
        assert running.rooms.told.banned_networks == []
        assert [len(each.of("auth_failed")) for each in running.trace.sessions] == [1] * 2 * FAILURES
        assert [each.of("login_delayed") for each in running.trace.sessions] == [[]] * 2 * FAILURES


@pytest.mark.parametrize("claims", [{"aud": "https://web.example.org"}, {"active": False}, {"exp": None}])
async def test_any_other_bad_token_is_one(clock: MockClock, claims: dict[str, object]) -> None:
    """Else whoever has tokens of another service's, or none, could try them without end."""
    async with serving(**claims) as running:
        for number in range(FAILURES):
            guesser = await sasl(running)
            guesser.told(await guesser.bearer(f"token{number}", "ann@example.org"))
            guesser.client.close()
        assert len(running.rooms.told.banned_networks) == 1
