"""The task that has certificates served as they are on disk, and says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from tlsgate.ops.log import EventLog
from tlsgate.renewal import Renewing
from tlsgate.tls.certificate import Certificate
from tlsgate.workers.spawner import SpawnFault

POLL = 10.0


async def watch(
    files: Renewing,
    renew: Callable[[], Awaitable[str | None]],
    served: Callable[[], Sequence[Certificate]],
    log: EventLog,
) -> None:
    """Poll ``files`` until it is cancelled.

    ``renew`` takes them over: "", or why what was read before stays; None when it is too late for others.
    """
    threads = trio.CapacityLimiter(1)  # a disk that hangs keeps one
    told = ""
    while True:
        await trio.sleep(POLL)
        fault: str | None
        try:
            if not await trio.to_thread.run_sync(files.changed, limiter=threads, abandon_on_cancel=True):
                continue
            fault = await renew()
        except SpawnFault as gone:
            fault = str(gone)
        if fault is None:
            return
        if not fault:
            certificates = served()
            first = min(each.expires for each in certificates)
            log.emit("certificates_reloaded", certificates=len(certificates), first_expires=f"{first:%Y-%m-%dT%H:%MZ}")
        elif fault != told:
            log.emit("certificate_fault", "error", reason=f"{fault}; what was read before is served")
        told = fault
