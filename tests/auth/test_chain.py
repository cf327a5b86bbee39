"""Several sources: who decides, and that nobody falls through."""

from __future__ import annotations

import pytest

from tests.auth.attempts import attempt
from tlsgate.auth.attempt import Attempt
from tlsgate.auth.chain import Source, chain
from tlsgate.auth.judgement import Judgement, Right, Unavailable, Undecided
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused

SHOWN = Credentials("ann", b"secret")
RIGHT, UNDECIDED, UNAVAILABLE = Right("ann"), Undecided(SHOWN), Unavailable("away")
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)


def saying(found: Judgement | None) -> Source:
    async def source(_: Attempt) -> Judgement | None:
        return found

    return source


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([], WRONG),
        ([None], WRONG),
        ([None, None], WRONG),
        ([RIGHT], RIGHT),
        ([None, UNDECIDED], UNDECIDED),
        ([WRONG, RIGHT], WRONG),  # a wrong password isn't tried on another source
        ([WRONG, UNDECIDED], WRONG),
        ([UNAVAILABLE, RIGHT], UNAVAILABLE),  # nor one that couldn't be looked at
        ([Refused(Refusal.AUTHORIZATION_FAILED), RIGHT], Refused(Refusal.AUTHORIZATION_FAILED)),
    ],
)
async def test_the_first_that_knows_the_user_decides(said: list[Judgement | None], verdict: Judgement) -> None:
    assert await chain([saying(each) for each in said])(attempt(SHOWN)) == verdict
