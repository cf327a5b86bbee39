"""What the log says of the file of aliases."""

from __future__ import annotations

import io
import json
from pathlib import Path

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.aliases_trace import AliasesTrace
from tlsgate.ops.log import EventLog


def test_what_befalls_the_file_is_logged_with_its_place() -> None:
    """A line that nobody can find is mended by nobody."""
    output, path = io.BytesIO(), Path("/etc/tlsgate/aliases")
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    trace = AliasesTrace(log)
    trace.aliases_reloaded(path, 7, 1)
    trace.aliases_bad_line(path, 3, "it names no address")
    trace.aliases_unreadable(path, "is empty")
    log.close()
    told = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [{key: event[key] for key in event if key != "ts"} for event in told] == [
        {"level": "info", "event": "aliases_reloaded", "path": str(path), "logins": 7, "bad_lines": 1},
        {"level": "warning", "event": "aliases_bad_line", "about": f"{path}:3", "reason": "it names no address"},
        {"level": "error", "event": "aliases_unreadable", "path": str(path), "reason": "is empty"},
    ]
