"""The hook through which the file of aliases reaches the log."""

from __future__ import annotations

from pathlib import Path

from tlsgate.ops.log import EventLog


class AliasesTrace:
    """What befalls the file of aliases, as log events."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def aliases_reloaded(self, path: Path, logins: int, bad_lines: int) -> None:
        """The file's new content is in force."""
        self._log.emit("aliases_reloaded", path=str(path), logins=logins, bad_lines=bad_lines)

    def aliases_bad_line(self, path: Path, line: int, reason: str) -> None:
        """A line was left out."""
        self._log.emit("aliases_bad_line", "warning", about=f"{path}:{line}", reason=reason)

    def aliases_unreadable(self, path: Path, fault: str) -> None:
        """The file can't be used: what was read before stays in force."""
        self._log.emit("aliases_unreadable", "error", path=str(path), reason=fault)
