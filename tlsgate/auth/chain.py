"""Several sources as one judge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tlsgate.auth.judgement import Finding, Judge
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused

# None: it doesn't know the user.
Source = Callable[[Credentials], Awaitable[Finding | Refused | None]]


def chain(sources: Sequence[Source]) -> Judge:
    """The first source that knows the user decides; a user whom none knows is refused like a wrong password."""

    async def judge(shown: Credentials) -> Finding | Refused:
        for source in sources:
            if (found := await source(shown)) is not None:
                return found
        return Refused(Refusal.AUTHENTICATION_FAILED)

    return judge
