"""A judge that remembers for a moment what it has found right (``auth.success_cache``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tlsgate.auth.attempt import Attempt
from tlsgate.auth.judgement import Judge, Judgement, Right
from tlsgate.auth.success_cache import SuccessCache
from tlsgate.dialogue.credentials import Credentials


def remembered(judge: Judge, cache: SuccessCache[Right], follow: Callable[[], Awaitable[None]] | None) -> Judge:
    """``follow``: looks whether the files of sources have changed, which clears the ``cache``."""

    async def judge_once(attempt: Attempt) -> Judgement:
        shown = attempt.shown
        if not isinstance(shown, Credentials):
            return await judge(attempt)
        if follow is not None:
            await follow()
        caller = attempt.caller()
        if caller.tls is not None and caller.tls.certificate is not None:
            return await judge(attempt)  # it may be what was found right
        client = caller.address
        if (known := cache.get(shown, attempt.protocol, client)) is not None:
            return known
        generation = cache.generation
        found = await judge(attempt)
        # What a source says of the login at the backend is asked anew, and no secret is kept.
        if isinstance(found, Right) and found.secret is None and not found.name:
            cache.put(shown, attempt.protocol, client, found, generation)
        return found

    return judge_once
