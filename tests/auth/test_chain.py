"""Several sources: who decides, and that nobody falls through."""

from __future__ import annotations

import pytest

from tlsgate.auth.chain import Source, chain
from tlsgate.auth.judgement import Finding
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused

SHOWN = Credentials("ann", b"secret")
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)


def saying(found: Finding | Refused | None) -> Source:
    async def source(_: Credentials) -> Finding | Refused | None:
        return found

    return source


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([], WRONG),
        ([None], WRONG),
        ([None, None], WRONG),
        ([Finding.RIGHT], Finding.RIGHT),
        ([None, Finding.UNDECIDED], Finding.UNDECIDED),
        ([WRONG, Finding.RIGHT], WRONG),  # a wrong password isn't tried on another source
        ([WRONG, Finding.UNDECIDED], WRONG),
        ([Finding.UNAVAILABLE, Finding.RIGHT], Finding.UNAVAILABLE),  # nor one that couldn't be looked at
        ([Refused(Refusal.AUTHORIZATION_FAILED), Finding.RIGHT], Refused(Refusal.AUTHORIZATION_FAILED)),
    ],
)
async def test_the_first_that_knows_the_user_decides(
    said: list[Finding | Refused | None], verdict: Finding | Refused
) -> None:
    assert await chain([saying(each) for each in said])(SHOWN) == verdict
