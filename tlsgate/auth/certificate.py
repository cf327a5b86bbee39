"""Who logs in by a certificate (SASL EXTERNAL): our own CA's word is enough where no other source is to be asked."""

from __future__ import annotations

from tlsgate.auth.attempt import Attempt
from tlsgate.auth.judgement import Judgement, Right
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.dialogue.proofs import Proven


async def judge(attempt: Attempt) -> Judgement | None:
    """Nobody acts as somebody else."""
    shown = attempt.shown
    if not isinstance(shown, Proven) or attempt.mechanism != "EXTERNAL":
        return None
    if shown.authzid not in ("", shown.user):
        return Refused(Refusal.AUTHORIZATION_FAILED)
    return Right(shown.user)
