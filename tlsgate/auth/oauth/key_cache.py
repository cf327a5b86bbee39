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
        self._attempt_over: trio.Event | None = None  # of the one under way
        self._reading = trio.CapacityLimiter(1)
        self.trouble = ""

    async def current(self) -> KeySet | None:
        """The keys that count; None if none could be had."""
        keys = self._in_force()
        # Who has keys doesn't wait for an attempt that somebody else makes.
        if keys is None or (trio.current_time() >= self._fetched_at + FRESH and self._attempt_over is None):
            await self._refresh()
        return self._in_force()

    async def newer(self) -> KeySet | None:
        """The keys after one more look, if it is time for one: for a token that none of the current ones fits."""
        await self._refresh()
        return self._in_force()

    def _in_force(self) -> KeySet | None:
        return self._keys if trio.current_time() < self._fetched_at + KEPT else None

    async def _refresh(self) -> None:
        """Fetch them, unless that was tried lately; who comes while an attempt is under way waits for its end."""
        if self._attempt_over is None:
            if trio.current_time() < self._next_at:
                return
            self._next_at = trio.current_time() + PAUSE
            self._attempt_over = trio.Event()
            # Others wait for it too, so it goes on when the session that began it ends.
            trio.lowlevel.spawn_system_task(self._attempt, self._attempt_over)
        await self._attempt_over.wait()

    async def _attempt(self, over: trio.Event) -> None:
        trouble = "no answer in time"
        try:
            with trio.move_on_after(PATIENCE):
                trouble = await self._fetched()
        except Exception as fault:  # noqa: BLE001 - of a system task it would end the process
            trouble = f"a fault of ours, {type(fault).__name__}"
        finally:
            self.trouble = trouble
            self._attempt_over = None
            over.set()

    async def _fetched(self) -> str:
        """Have newer keys, or say why not."""
        try:
            content = await self._fetch(self._url)
            self._keys = await trio.to_thread.run_sync(read_key_set, content, limiter=self._reading)
        except (FetchFailed, KeySetFault) as fault:
            return str(fault)
        self._fetched_at = trio.current_time()
        return ""
