"""Log events (DESIGN 3.4): one JSON object a line on standard error, or one readable line.

A pipe that nobody reads blocks its writer. So events go into a bounded queue, and one thread writes them; when the
queue is full, events are counted and dropped, and no session waits.

Several processes may write to one output. A write of theirs comes between two of ours, never into one; of what is
written to a pipe or a socket at once, that holds for the first PIPE_BUF octets (pipe(7)).
"""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import BinaryIO

import msgspec

from tlsgate.config import LogFormat, LogLevel

Field = str | int | float | bool | None
_Event = tuple[float, str, str, Mapping[str, Field]]

_MOST_WAITING = 20_000
_MOST_AT_ONCE = 500
# Lines are gathered for this long and written in one go: a thread woken for each would cost more than the line.
_GATHER = 0.02
_RANKS = {level.value: rank for rank, level in enumerate(LogLevel)}


class EventLog:
    """Writes events to ``output`` from a thread of its own. ``level``: the least that is written."""

    def __init__(self, output: BinaryIO, log_format: LogFormat, level: LogLevel) -> None:
        self._output = output
        self._most_at_once = select.PIPE_BUF if _is_pipe(output) else sys.maxsize
        self._encode = _json if log_format is LogFormat.JSON else _console
        self._least = _RANKS[level.value]
        self._waiting: SimpleQueue[_Event | None] = SimpleQueue()
        self.dropped = 0
        self._writer = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._writer.start()

    def emit(self, event: str, level: str = "info", **fields: Field) -> None:
        """Log an event; never waits. ``level``: a LogLevel's value."""
        self.write(event, level, fields)

    def write(self, event: str, level: str, fields: Mapping[str, Field]) -> None:
        """The same, of fields that nobody changes any more."""
        if _RANKS[level] < self._least:
            return
        if self._waiting.qsize() >= _MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.put((time.time(), level, event, fields))

    def close(self, patience: float = 2.0) -> None:
        """Write what waits and end the thread; give up after ``patience`` seconds with a reader that stalls."""
        self._waiting.put(None)
        self._writer.join(patience)

    def _write_all(self) -> None:
        more = True
        while more:
            event = self._waiting.get()
            if event is not None:
                time.sleep(_GATHER)
            lines = bytearray()
            for _ in range(_MOST_AT_ONCE):
                if event is None:
                    more = False
                    break
                self._add(lines, event)
                try:
                    event = self._waiting.get_nowait()
                except Empty:
                    break
            else:
                if event is not None:
                    self._add(lines, event)
            self._write(lines)

    def _add(self, lines: bytearray, event: _Event) -> None:
        """Put one more line behind ``lines``, which are written first if that makes them too many for one write."""
        line = self._encode(*event) + b"\n"
        if len(lines) + len(line) > self._most_at_once:
            self._write(lines)
            lines.clear()
        lines += line

    def _write(self, lines: bytearray) -> None:
        try:
            self._output.write(bytes(lines))
            self._output.flush()
        except OSError:  # nobody reads, or the disk is full: the count says so
            self.dropped += lines.count(b"\n")


def _is_pipe(output: BinaryIO) -> bool:
    try:
        mode = os.fstat(output.fileno()).st_mode
    except OSError:  # in memory
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class LibraryHandler(logging.Handler):
    """What a library logs through the standard library becomes an event "library"."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.emit("library", level, logger=record.name, message=record.getMessage())


_encoder = msgspec.json.Encoder()


def _json(when: float, level: str, event: str, fields: Mapping[str, Field]) -> bytes:
    line = {"ts": _timestamp(when), "level": level, "event": event, **fields}
    try:
        return _encoder.encode(line)
    except UnicodeEncodeError:  # a lone surrogate: escaped
        return json.dumps(line).encode()


def _console(when: float, level: str, event: str, fields: Mapping[str, Field]) -> bytes:
    words = [f"{name}={_word(value)}" for name, value in fields.items() if value not in (None, "")]
    return " ".join([_timestamp(when)[11:23], f"{level:7}", event, *words]).encode(errors="backslashreplace")


def _word(value: Field) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else json.dumps(text)


def _timestamp(when: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    seconds, milliseconds = divmod(int(when * 1000), 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


@lru_cache(4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
