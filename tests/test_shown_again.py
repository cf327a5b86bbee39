"""What was right once and is shown again: a proof of SCRAM's is worth nothing, a token is until it isn't good any more.

Through a gate that goes by a config with ``success_cache``, which must not make either of them last.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.auth.oauth.issuer import signed
from tests.auth_configs import ALONE, ANN, Setup
from tests.dialogue.scram_client import client_final, client_first
from tests.judged import Judged, good_claims, judged
from tests.legacy_server import SECRET
from tests.mechanism_logins import GRANTED, REFUSED, begins, client_of
from tests.mechanism_table import Shown
from tests.sasl_client import BoundSasl, Sasl, sasl
from tests.test_session import each_protocol
from tests.test_tokens_of_sessions import EXPIRED, JWT, KEY, OPAQUE, each_token_mechanism
from tlsgate.auth.oauth.claims import SKEW
from tlsgate.auth.oauth.introspection import KEPT, Introspection
from tlsgate.auth.oauth.jwt import JwtCheck
from tlsgate.config import Protocol

pytestmark = pytest.mark.timeout(60)

USERS_FILE = next(each for each in ALONE if each.name == "users-file")
REMEMBERED = 'success_cache = "10m"'
each_proof = pytest.mark.parametrize("mechanism", Shown.PROOF.value)


# -- proofs ----------------------------------------------------------------------------------------------


class Exchange:
    """One whose proof can be heard by who sits where TLS ends. ``server_first``: what the gate has said."""

    def __init__(self, by: Sasl) -> None:
        self._by = by
        self._bound = isinstance(by, BoundSasl)
        self._header = "p=tls-exporter,," if self._bound else "n,,"

    async def begin(self) -> bytes:
        """What the gate says to Ann's first message."""
        mechanism = "SCRAM-SHA-256-PLUS" if self._bound else "SCRAM-SHA-256"
        return self._by.told(await self._by.begin(mechanism, client_first(self._header, ANN)))

    def proof(self, server_first: bytes) -> bytes:
        binding = self._by.exporter if isinstance(self._by, BoundSasl) else b""
        return client_final(SECRET, server_first, header=self._header, user=ANN, binding=binding)

    async def show(self, proof: bytes) -> bytes:
        return self._by.told(await self._by.respond(proof))

    async def end(self) -> bytes:
        return await self._by.respond(b"")


async def _heard(it: Judged, mechanism: str) -> bytes:
    """A proof that has let Ann in."""
    ann = Exchange(await client_of(it.gate, mechanism, ANN))
    proof = ann.proof(await ann.begin())
    assert (await ann.show(proof)).startswith(b"v=")
    assert (await ann.end()).startswith(GRANTED[it.gate.protocol])
    return proof


@each_protocol
@each_proof
async def test_a_proof_that_is_shown_again_is_refused(mechanism: str, protocol: Protocol, tmp_path: Path) -> None:
    """It is for the nonce of its exchange, and with -PLUS for its connection."""
    async with judged(tmp_path, USERS_FILE, protocol, "stored", ["PLAIN", *Shown.PROOF.value], more=REMEMBERED) as it:
        proof = await _heard(it, mechanism)
        thief = Exchange(await client_of(it.gate, mechanism, ""))
        await thief.begin()
        binds = mechanism == "SCRAM-SHA-256-PLUS"
        assert await thief.show(proof) == (b"e=channel-bindings-dont-match" if binds else b"e=other-error")
        assert (await thief.end()).startswith(REFUSED[protocol])
        assert len(it.server.talks) == 1


@each_protocol
@each_proof
async def test_an_old_nonce_is_refused_on_the_same_connection_too(
    mechanism: str, protocol: Protocol, tmp_path: Path
) -> None:
    """Each exchange has one of its own, also where the one before it has come to nothing."""
    async with judged(tmp_path, USERS_FILE, protocol, "stored", ["PLAIN", *Shown.PROOF.value]) as it:
        ann = Exchange(await client_of(it.gate, mechanism, ANN))
        old = await ann.begin()
        assert (await ann.show(ann.proof(old)[:-4] + b"AAA=")) == b"e=invalid-proof"
        await ann.end()
        assert (await ann.begin()) != old
        assert await ann.show(ann.proof(old)) == b"e=other-error"
        assert (await ann.end()).startswith(REFUSED[protocol])
        assert (await ann.show(ann.proof(await ann.begin()))).startswith(b"v=")


@each_protocol
@each_proof
async def test_an_old_proof_under_the_new_nonce_is_a_wrong_one(
    mechanism: str, protocol: Protocol, tmp_path: Path
) -> None:
    """And counts as a guess."""
    async with judged(tmp_path, USERS_FILE, protocol, "stored", ["PLAIN", *Shown.PROOF.value]) as it:
        _, _, old = (await _heard(it, mechanism)).rpartition(b",p=")
        thief = Exchange(await client_of(it.gate, mechanism, ""))
        new, _, _ = thief.proof(await thief.begin()).rpartition(b",p=")
        assert await thief.show(new + b",p=" + old) == b"e=invalid-proof"
        assert (await thief.end()).startswith(REFUSED[protocol])
        failed = [values for session in it.gate.trace.sessions for values in session.of("auth_failed")]
        assert failed == [(mechanism, ANN, "invalid-proof")]


# -- tokens ----------------------------------------------------------------------------------------------


class Clock:
    """The time by which tokens are judged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = float(str(good_claims()["iat"]))
        for check in (JwtCheck, Introspection):
            monkeypatch.setattr(check.__init__, "__defaults__", (lambda: self.now,))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@each_protocol
@each_token_mechanism
@pytest.mark.parametrize("setup", [JWT, OPAQUE], ids=lambda setup: setup.name)
async def test_a_bearer_token_is_good_again_for_whoever_has_it_until_it_expires(
    setup: Setup, mechanism: str, protocol: Protocol, tmp_path: Path, clock: Clock
) -> None:
    """Clients show one for an hour, from each of their addresses, and it is bound to none of them (RFC 6750 1.2)."""
    async with judged(tmp_path, setup, protocol, "stored", Shown.TOKEN.value, more=REMEMBERED) as it:
        claims = good_claims()
        token = signed(KEY, claims, "ES256").text if setup is JWT else "opaque"
        it.issuer.answers["opaque"] = claims
        expiry = float(str(claims["exp"])) + SKEW
        for now, source in ((clock.now, "127.0.0.1"), (clock.now + 1, "127.0.0.2"), (expiry - 1, "127.0.0.1")):
            clock.now = now
            client = await sasl(it.gate, source=source)
            assert (await begins(client, protocol, mechanism, ANN, token)).startswith(GRANTED[protocol])
        clock.now = expiry + 1
        late = await sasl(it.gate)
        late.told(await begins(late, protocol, mechanism, ANN, token))
        assert (await late.respond(b"\x01")).startswith(EXPIRED[protocol])
        assert len(it.server.talks) == 3


@each_protocol
@each_token_mechanism
async def test_a_token_that_its_issuer_has_revoked_is_refused_when_its_word_is_a_minute_old(
    mechanism: str, protocol: Protocol, tmp_path: Path, clock: Clock
) -> None:
    """So long its word is kept, so that clients with many connections cost it one question; and no longer.

    It was good: its client is told to get a new one, and has guessed nothing.
    """
    assert KEPT <= 60
    async with judged(tmp_path, OPAQUE, protocol, "stored", Shown.TOKEN.value, more=REMEMBERED) as it:
        began = clock.now
        for after, asked in ((0.0, 1), (KEPT - 1, 1)):
            clock.now = began + after
            ann = await sasl(it.gate)
            assert (await begins(ann, protocol, mechanism, ANN, "opaque")).startswith(GRANTED[protocol])
            assert len(it.issuer.requests) == asked
            it.issuer.answers["opaque"] = {"active": False}
        for after in (KEPT + 1, KEPT + 2):  # and a no is kept as well
            clock.now = began + after
            late = await sasl(it.gate)
            late.told(await begins(late, protocol, mechanism, ANN, "opaque"))
            assert (await late.respond(b"\x01")).startswith(EXPIRED[protocol])
            assert len(it.issuer.requests) == 2
        assert len(it.server.talks) == 2


@each_protocol
async def test_a_token_shown_as_a_password_is_none(protocol: Protocol, tmp_path: Path) -> None:
    """Else the success cache, which is for passwords, would let it in for longer than it is good."""
    async with judged(tmp_path, USERS_FILE, protocol, "stored", ["PLAIN"], more=REMEMBERED) as it:
        ann = await sasl(it.gate)
        token = signed(KEY, good_claims(), "ES256").text
        assert (await ann.plain(ANN, token)).startswith(REFUSED[protocol])
        assert base64.b64encode(token.encode()).decode() not in repr([each.calls for each in it.gate.trace.sessions])
