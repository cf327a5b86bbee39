"""Memory of sessions that are gone goes back to the system.

glibc keeps what is freed below anything that lives, for sessions to come: after a storm of them, for ever. To give it
back takes a tenth of a second for 10,000 sessions, so it is done when half of them have gone.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

EACH = 10.0  # seconds
FEWEST = 500  # sessions that it is worth: some 15 MiB


async def give_back(sessions: Callable[[], int]) -> None:
    """Look from time to time how many ``sessions`` live, until it is cancelled."""
    # A thread of its own: name look-ups that hang take all of trio's default ones.
    limiter, most = trio.CapacityLimiter(1), 0
    while True:
        await trio.sleep(EACH)
        now = sessions()
        most = max(most, now)
        if most - now >= max(FEWEST, most // 2):
            most = now
            await trio.to_thread.run_sync(_trim, limiter=limiter)


def _trim() -> None:
    import ctypes  # takes memory itself: only where there are many sessions

    gc.collect()  # what was a session may be garbage still
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # musl has none
        trim(0)
