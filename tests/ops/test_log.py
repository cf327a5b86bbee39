"""Log events: what a line looks like, and that a reader who stalls stops nobody."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.log import EventLog, Field, LibraryHandler

Told = tuple[str, str, dict[str, Field]]


def written(log_format: LogFormat, level: LogLevel, *events: Told) -> list[bytes]:
    output = io.BytesIO()
    log = EventLog(output, log_format, level)
    for name, at, fields in events:
        log.emit(name, at, **fields)
    log.close()
    return output.getvalue().splitlines()


def test_json_one_object_a_line() -> None:
    fields: dict[str, Field] = {"user": 'a"b\n', "seconds": 0.25, "sni": None, "count": 3}
    (line,) = written(LogFormat.JSON, LogLevel.INFO, ("session", "info", fields))
    event = json.loads(line)
    assert list(event)[:3] == ["ts", "level", "event"]
    assert {key: event[key] for key in fields} == fields
    told = datetime.fromisoformat(event["ts"])
    assert event["ts"].endswith("Z")
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60


def test_a_lone_surrogate_loses_no_line() -> None:
    first, second = written(
        LogFormat.JSON, LogLevel.INFO, ("one", "info", {"user": "\udcff"}), ("two", "info", {"user": "é"})
    )
    assert json.loads(first)["user"] == "\udcff"
    assert json.loads(second)["user"] == "é"


def test_console_keeps_one_event_on_one_line() -> None:
    fields: dict[str, Field] = {"user": "a b\nc", "client": "192.0.2.1", "sni": None}
    (line,) = written(LogFormat.CONSOLE, LogLevel.INFO, ("session", "warning", fields))
    assert line.endswith(b'warning session user="a b\\nc" client=192.0.2.1')


def test_levels_below_the_least_are_left_out() -> None:
    events: list[Told] = [(level.value, level.value, {}) for level in LogLevel]
    lines = written(LogFormat.JSON, LogLevel.WARNING, *events)
    assert [json.loads(line)["event"] for line in lines] == ["warning", "error"]


def test_every_event_of_many_is_written_in_order() -> None:
    events: list[Told] = [("e", "info", {"n": number}) for number in range(5000)]
    lines = written(LogFormat.JSON, LogLevel.INFO, *events)
    assert [json.loads(line)["n"] for line in lines] == list(range(5000))


def test_a_reader_that_stalls_blocks_no_writer_and_losses_are_counted() -> None:
    """A pipe holds 64 KiB: whoever writes to it directly hangs here for ever."""
    reading, writing = os.pipe()
    read = bytearray()

    def drain() -> None:
        while piece := os.read(reading, 1 << 20):
            read.extend(piece)

    total = 60_000
    with os.fdopen(writing, "wb", buffering=0) as output:
        log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
        for number in range(total):
            log.emit("e", n=number, padding="x" * 100)
        assert log.dropped > 0
        reader = threading.Thread(target=drain)
        reader.start()
        log.close(patience=60)
    reader.join(60)
    os.close(reading)
    numbers = [json.loads(line)["n"] for line in bytes(read).splitlines()]
    assert numbers == sorted(numbers)
    assert len(numbers) + log.dropped == total


@pytest.mark.parametrize("output", ["pipe", "socket", "file"])
def test_lines_of_two_processes_stay_whole(output: str, tmp_path: Path) -> None:
    """Workers share one standard error; half a line inside of another is two events lost."""
    program = (
        "import sys\n"
        "from tlsgate.config import LogFormat, LogLevel\n"
        "from tlsgate.ops.log import EventLog\n"
        "log = EventLog(sys.stderr.buffer, LogFormat.JSON, LogLevel.INFO)\n"
        "for number in range(4000):\n"
        "    log.emit('e', who=sys.argv[1], n=number, padding='x' * (number * 7 % 500 or 3800))\n"
        "log.close(30)\n"
    )
    match output:
        case "pipe":
            reading, writing = os.pipe()
        case "socket":
            ours, theirs = socket.socketpair()
            reading, writing = ours.detach(), theirs.detach()
        case _:
            path = tmp_path / "log"
            path.touch()
            reading, writing = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    writers = [subprocess.Popen([sys.executable, "-c", program, who], stderr=writing) for who in ("one", "two")]
    os.close(writing)
    if output == "file":
        assert [each.wait(60) for each in writers] == [0, 0]
    with os.fdopen(reading, "rb") as lines:
        events = [json.loads(line) for line in lines]
    assert [each.wait(60) for each in writers] == [0, 0]
    for who in ("one", "two"):
        assert [event["n"] for event in events if event["who"] == who] == list(range(4000))


def test_a_closed_output_is_counted_and_raises_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    output = os.fdopen(writing, "wb", buffering=0)
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    log.emit("one")
    log.emit("two")
    log.close()
    output.close()
    assert log.dropped == 2


def test_what_a_library_logs_is_an_event() -> None:
    output = io.BytesIO()
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    logger = logging.getLogger("some.library")
    handler = LibraryHandler(log)
    logger.addHandler(handler)
    try:
        logger.warning("went %s", "wrong")
        logger.info("chatter")
    finally:
        logger.removeHandler(handler)
    log.close()
    (line,) = output.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["logger"]) == ("library", "warning", "some.library")
    assert event["message"] == "went wrong"


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_no_event_leaves_control_characters_on_the_terminal(log_format: LogFormat) -> None:
    (line,) = written(log_format, LogLevel.INFO, ("e", "info", {"user": "\x1b[31m\x07\x00"}))
    assert not any(octet < 0x20 for octet in line)
