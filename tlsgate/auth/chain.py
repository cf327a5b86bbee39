"""Several sources as one judge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tlsgate.auth.attempt import Attempt
from tlsgate.auth.judgement import Judge, Judgement
from tlsgate.dialogue.events import Refusal, Refused

# None: it doesn't know the user, or has nothing to say of what was shown.
Source = Callable[[Attempt], Awaitable[Judgement | None]]


def chain(sources: Sequence[Source]) -> Judge:
    """The first source that knows the user decides; a user whom none knows is refused like a wrong password."""

    async def judge(attempt: Attempt) -> Judgement:
        for source in sources:
            if (found := await source(attempt)) is not None:
                return found
        return Refused(Refusal.AUTHENTICATION_FAILED)

    return judge
