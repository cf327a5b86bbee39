"""The hook through which the workers as processes reach the log."""

from __future__ import annotations

from tlsgate.ops.log import EventLog


class FleetTrace:
    """Workers' beginnings and ends as log events."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def worker_started(self, pid: int) -> None:
        """A worker process was started."""
        self._log.emit("worker_started", pid=pid)

    def worker_ended(self, pid: int, sessions: int, reason: str) -> None:
        """A worker has ended that wasn't told to, or before its sessions had; they are gone."""
        self._log.emit("worker_ended", "error", pid=pid, sessions=sessions, reason=reason)

    def worker_not_replaced(self, left: int, reason: str) -> None:
        """No other could be started in the place of one that has ended; so many are ``left``."""
        self._log.emit("worker_not_replaced", "error", left=left, reason=reason)
