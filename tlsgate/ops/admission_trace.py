"""The hook through which admission as a whole reaches the log."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tlsgate.ops.log import EventLog


class Ban(Protocol):
    """What is told of a ban."""

    @property
    def network(self) -> str: ...
    @property
    def since(self) -> float: ...
    @property
    def until(self) -> float: ...
    @property
    def count(self) -> int: ...
    @property
    def reason(self) -> str: ...


class AdmissionTrace:
    """Bans, lists and the shared state as log events. ``state_faults``: how often the shared state has failed."""

    def __init__(self, log: EventLog) -> None:
        self.state_faults = 0
        self.state_is_up = False
        self._log = log

    def banned(self, ban: Ban) -> None:
        """A network is refused from now on. ``count``: which ban of it this is."""
        seconds = round(ban.until - ban.since)
        self._log.emit("banned", "warning", network=ban.network, seconds=seconds, count=ban.count, reason=ban.reason)

    def unbanned(self, network: str, reason: str) -> None:
        """A ban has ended: by "time", or by somebody."""
        self._log.emit("unbanned", network=network, reason=reason)

    def ban_file_fault(self, path: str, reason: str) -> None:
        """Bans can't be read or saved: they end with the process."""
        self._log.emit("ban_file_fault", "error", path=path, reason=reason)

    def list_reloaded(self, path: Path, prefixes: int, bad_lines: int) -> None:
        """A list file's new content is in force."""
        self._log.emit("list_reloaded", path=str(path), prefixes=prefixes, bad_lines=bad_lines)

    def list_bad_line(self, path: Path, line: int, reason: str) -> None:
        """A line of a list file was skipped or mended."""
        self._log.emit("list_bad_line", "warning", path=str(path), line=line, reason=reason)

    def list_unreadable(self, path: Path, reason: str) -> None:
        """A list file can't be used: what was read before stays in force."""
        self._log.emit("list_unreadable", "error", path=str(path), reason=reason)

    def state_up(self) -> None:
        """The state that replicas share is used from now on."""
        self.state_is_up = True
        self._log.emit("state_up")

    def state_down(self, reason: str) -> None:
        """The state that replicas share can't be reached."""
        self.state_is_up = False
        self._log.emit("state_down", "error", reason=reason)

    def state_fault(self, _reason: str) -> None:
        """It has failed once more."""
        self.state_faults += 1
