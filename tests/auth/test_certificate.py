"""Our own CA's word, where no other source is asked: it lets its owner in as itself, and nobody by anything else."""

from __future__ import annotations

import pytest

from tests.auth.attempts import attempt
from tlsgate.auth.certificate import judge
from tlsgate.auth.judgement import Right
from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused, Shown
from tlsgate.dialogue.proofs import Proven


@pytest.mark.parametrize("authzid", ["", "ann"])
async def test_its_owner_is_let_in(authzid: str) -> None:
    assert await judge(attempt(Proven("ann", authzid), "EXTERNAL")) == Right("ann")


async def test_nobody_acts_as_somebody_else() -> None:
    assert await judge(attempt(Proven("ann", "bob"), "EXTERNAL")) == Refused(Refusal.AUTHORIZATION_FAILED)


@pytest.mark.parametrize(
    ("shown", "mechanism"),
    [
        (Proven("ann"), "SCRAM-SHA-256"),
        (Proven("ann"), "SCRAM-SHA-256-PLUS"),
        (Credentials("ann", b"secret"), "PLAIN"),
        (BearerToken("token", "ann"), "OAUTHBEARER"),
    ],
)
async def test_nothing_else_is_its_business(shown: Shown, mechanism: str) -> None:
    """A proof of SCRAM stands only if the file that its secret was of says so: this must not let it pass."""
    assert await judge(attempt(shown, mechanism)) is None
