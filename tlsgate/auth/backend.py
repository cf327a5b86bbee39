"""The source "backend": the legacy server's own login decides, with the client's own secret."""

from __future__ import annotations

from tlsgate.auth.attempt import Attempt
from tlsgate.auth.judgement import Judgement, Undecided
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused


async def judge(attempt: Attempt) -> Judgement | None:
    """Only the backend can tell. To act as somebody else needs a source that can allow it; this one can't."""
    shown = attempt.shown
    if not isinstance(shown, Credentials):
        return None
    if shown.authzid not in ("", shown.user):
        return Refused(Refusal.AUTHORIZATION_FAILED)
    return Undecided(shown)
