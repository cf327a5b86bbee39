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
    """Bans and lists as log events."""

    def __init__(self, log: EventLog) -> None:
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
