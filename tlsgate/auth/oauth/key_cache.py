"""An issuer's keys, fetched when they are needed and kept for a while."""

from __future__ import annotations

import math

import trio

from tlsgate.auth.oauth.exchange import PATIENCE, Fetch, FetchFailed
from tlsgate.auth.oauth.jwk import KeySet, KeySetFault, read_key_set

# Seconds. FRESH: after that they are fetched again. KEPT: how long they count while they can't be.
FRESH = 3600.0
KEPT = 24 * 3600.0
# From one attempt to the next: strangers can ask for unknown keys as often as they like.
PAUSE = 30.0


class KeyCache:
    """The keys at ``url``. ``trouble``: why the last attempt to fetch them failed, "" if it didn't.

    There is at most one attempt at a time, and one each PAUSE; none takes longer than PATIENCE.
    """

    def __init__(self, url: str, fetch: Fetch) -> None:
        self._url = url
        self._fetch = fetch
        self._keys: KeySet | None = None
        self._fetched_at = self._next_at = -math.inf
        self._fetching = trio.Lock()
        self._reading = trio.CapacityLimiter(1)
        self.trouble = ""

    async def current(self) -> KeySet | None:
        """The keys that count; None if none could be had."""
        keys = self._in_force()
        # Who has keys doesn't wait for an attempt that somebody else makes.
        if keys is None or (trio.current_time() >= self._fetched_at + FRESH and not self._fetching.locked()):
            await self._refresh()
        return self._in_force()

    async def newer(self) -> KeySet | None:
        """The keys after one more look, if it is time for one: for a token that none of the current ones fits."""
        await self._refresh()
        return self._in_force()

    def _in_force(self) -> KeySet | None:
        return self._keys if trio.current_time() < self._fetched_at + KEPT else None

    async def _refresh(self) -> None:
        """Fetch them, unless that was tried lately; after a wait for an attempt under way, it was."""
        async with self._fetching:
            if trio.current_time() < self._next_at:
                return
            self._next_at = trio.current_time() + PAUSE
            # Others wait for it too, so it goes on when the session that began it ends.
            with trio.CancelScope(deadline=trio.current_time() + PATIENCE, shield=True) as scope:
                await self._attempt()
            if scope.cancelled_caught:
                self.trouble = "no answer in time"

    async def _attempt(self) -> None:
        try:
            content = await self._fetch(self._url)
            self._keys = await trio.to_thread.run_sync(read_key_set, content, limiter=self._reading)
        except (FetchFailed, KeySetFault) as fault:
            self.trouble = str(fault)
        else:
            self.trouble = ""
            self._fetched_at = trio.current_time()
