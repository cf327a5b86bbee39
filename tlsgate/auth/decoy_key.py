"""The key that decoys of SCRAM secrets are made with: the same in all workers, and better after a restart too.

It isn't made from the users file: what a user can compute of the own hash would be no secret, and what changes with
the file would change the salts of those only who aren't there.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from tlsgate.secret_file import UnusableSecret, read_secret_file

_NAME = "scram-decoy-key"
_SIZE = 32

OF_THIS_RUN = secrets.token_bytes(_SIZE)
"""Without a state directory: made when this is imported, before workers are forked, so that all have the same."""


def decoy_key(directory: Path) -> bytes:
    """That of a state directory, made if there is none. Raises OSError, UnusableSecret. Not for the trio loop."""
    path = directory / _NAME
    if not path.exists():
        _make(path)
    key = read_secret_file(path, _SIZE).data
    if len(key) != _SIZE:
        raise UnusableSecret(f"doesn't hold {_SIZE} octets")
    return key


def _make(path: Path) -> None:
    """Whole or not at all; of several workers', the first one's stays."""
    descriptor, name = tempfile.mkstemp(prefix=".tlsgate-", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SIZE))
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()


class DecoyKey:
    """The key of a state ``directory``, or that of this run without one, or where ``on_fault`` is told why not."""

    def __init__(self, directory: Path | None = None, on_fault: Callable[[str], None] = lambda _: None) -> None:
        self._directory = directory
        self._on_fault = on_fault
        self._key: bytes | None = None if directory else OF_THIS_RUN

    async def __call__(self) -> bytes:
        """The same each time."""
        if self._key is None and self._directory is not None:
            try:
                key = await trio.to_thread.run_sync(
                    decoy_key, self._directory, limiter=_READING, abandon_on_cancel=True
                )
            except (OSError, UnusableSecret) as error:
                why = (error.strerror if isinstance(error, OSError) else None) or str(error)
                key = OF_THIS_RUN
                self._on_fault(f"{self._directory / _NAME}: {why}; until a restart another key is used")
            self._key = self._key or key
        return self._key or OF_THIS_RUN


_READING = trio.CapacityLimiter(2)
