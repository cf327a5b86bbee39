"""The task that has certificates served as they are on disk, and says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from tlsgate.ops.log import EventLog
from tlsgate.renewal import Renewing
from tlsgate.tls.certificate import Certificate
from tlsgate.workers.spawner import SpawnFault

POLL = 10.0
PATIENCE = 60.0  # a renewal reads lists again, too, of a million lines


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
    told = silent = ""
    while True:
        await trio.sleep(POLL)
        fault: str | None = ""
        changed = False
        async with trio.open_nursery() as late:
            late.start_soon(_tell_late, log)
            try:
                changed = await trio.to_thread.run_sync(files.changed, limiter=threads, abandon_on_cancel=True)
                if changed:
                    fault = await renew()
            except SpawnFault as unheard:
                fault = silent = str(unheard)
            late.cancel_scope.cancel()
        if fault is None:
            return
        if fault:
            if fault != told:
                _log_fault(log, fault)
            told = fault
        elif changed:
            certificates = served()
            first = min(each.expires for each in certificates)
            log.emit("certificates_reloaded", certificates=len(certificates), first_expires=f"{first:%Y-%m-%dT%H:%MZ}")
            told = ""
        elif told == silent:
            told = ""  # the spawner answers again


async def _tell_late(log: EventLog) -> None:
    await trio.sleep(PATIENCE)
    _log_fault(log, "a file system hangs")


def _log_fault(log: EventLog, fault: str) -> None:
    log.emit("certificate_fault", "error", reason=f"{fault}; what was read before is served")
