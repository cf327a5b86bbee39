"""Bans that outlive a restart: one file in the state directory, always whole."""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "bans.json"
_MOST_BYTES = 64 * 1024**2


class BanFile:
    """The file of one state directory. Everything here reads or writes files: not for the trio loop."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / _NAME

    def read(self) -> bytes | None:
        """What was last written, None when there is nothing. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                return file.read(_MOST_BYTES)
        except FileNotFoundError:
            return None

    def write(self, encoded: bytes) -> None:
        """Replace what is there: a crash leaves the old file or the new one. Raises OSError."""
        half = self.path.with_name(f".{_NAME}.{os.getpid()}")
        try:
            with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            half.replace(self.path)
        except OSError:
            half.unlink(missing_ok=True)
            raise
