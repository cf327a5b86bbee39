"""When each app password was last used: noted in the state directory, by all workers in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio

from tlsgate.auth.followed import UnusableFile
from tlsgate.auth.rewrite import read, rewrite

PAUSE = 60.0
"""Seconds between two writes at least."""
_NAME = "app-passwords-used.json"
_MOST = 100_000  # those that were used last; others may be of passwords that are no more
_LAST_WRITE = 2.0

# By user and label.
Uses = Mapping[tuple[str, str], datetime]
_decode = msgspec.json.Decoder(list[tuple[str, str, datetime]]).decode


class LastUses:
    """Those of this process that aren't written yet. ``directory`` None: nothing is ever written.

    ``on_fault`` is told why they can't be written, once until they are.
    """

    def __init__(self, directory: Path | None, on_fault: Callable[[str], None]) -> None:
        self._path = None if directory is None else directory / _NAME
        self._on_fault = on_fault
        self._fault = ""
        self._noted: dict[tuple[str, str], datetime] = {}
        self._news = trio.Event()
        self._writing = trio.CapacityLimiter(1)

    def note(self, user: str, label: str) -> None:
        """It has just been used."""
        if self._path is not None:
            self._noted[user, label] = datetime.now(UTC).replace(microsecond=0)
            self._news.set()

    async def run(self) -> None:
        """Write what is noted, at once and then once a minute at most, until it is cancelled: then once more."""
        if self._path is None:
            return
        try:
            while True:
                await self._news.wait()
                await self._write(self._path)
                await trio.sleep(PAUSE)
        finally:
            if self._noted:
                with trio.move_on_after(_LAST_WRITE, shield=True):
                    await self._write(self._path)

    async def _write(self, path: Path) -> None:
        notes, fault, self._news = dict(self._noted), "", trio.Event()
        try:
            await trio.to_thread.run_sync(_merge, path, notes, limiter=self._writing, abandon_on_cancel=True)
        except (OSError, UnusableFile) as error:
            fault = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self._news.set()
        else:
            self._noted = {key: when for key, when in self._noted.items() if notes.get(key) != when}
        if fault and fault != self._fault:
            self._on_fault(f"{path}: {fault}")
        self._fault = fault


def read_last_uses(directory: Path) -> Uses:
    """What is noted there, nothing where nothing is. Raises UnusableFile, OSError. Not for the trio loop."""
    try:
        return _uses(read(directory / _NAME))
    except FileNotFoundError:
        return {}


def _merge(path: Path, notes: Uses) -> None:
    """Add to what other workers, and we, have written. Raises OSError, UnusableFile."""

    def merged(data: bytes) -> bytes:
        uses = dict(_uses(data))
        for key, when in notes.items():
            uses[key] = max(when, uses.get(key, when))
        latest = sorted(uses.items(), key=lambda use: use[1])[-_MOST:]
        return msgspec.json.encode([(user, label, when) for (user, label), when in latest])

    rewrite(path, merged, create=True)


def _uses(data: bytes) -> Uses:
    """What is no list of uses is none: they are worth no more than that."""
    try:
        read = {(user, label): when for user, label, when in _decode(data)}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {key: when for key, when in read.items() if when.tzinfo is not None}
