"""Small files with a secret in them: read whole, bounded, and never waited for."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path


class UnusableSecret(Exception):
    """A file that can't be used. The text says why, and nothing of what it holds."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """What a file holds. ``open_to_all``: everybody on the host may read it."""

    data: bytes = field(repr=False)
    open_to_all: bool


def read_secret_file(path: Path, largest: int) -> SecretFile:
    """A file of at most ``largest`` octets. Raises UnusableSecret. Not for the trio loop."""
    try:
        # A pipe is opened without waiting for its writer, to be refused.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise UnusableSecret("is no file")
            data = file.read(largest + 1)
    except OSError as error:
        raise UnusableSecret(str(error.strerror)) from None
    if len(data) > largest:
        raise UnusableSecret(f"is larger than {largest} octets")
    return SecretFile(data, bool(mode & stat.S_IROTH))
