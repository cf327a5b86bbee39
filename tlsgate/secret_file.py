"""Small files with a secret in them: read whole, bounded, and never waited for; and who else can read one."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

# Groups that everybody is in, as distributions number them: "users" and "nogroup".
_EVERYBODYS = frozenset({100, 65534})

CLOSE_IT = "chmod 640, with a group of tlsgate's own; in Kubernetes defaultMode 0440, with an fsGroup"
"""What would be right of a file that is open to all."""


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
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UnusableSecret("is no file")
            data = file.read(largest + 1)
    except OSError as error:
        raise UnusableSecret(str(error.strerror)) from None
    if len(data) > largest:
        raise UnusableSecret(f"is larger than {largest} octets")
    return SecretFile(data, open_to_all(facts))


def open_to_all(facts: os.stat_result) -> bool:
    """Whether everybody on the host may read a file with these facts. A group of its readers' own isn't everybody."""
    mode = facts.st_mode
    return bool(mode & stat.S_IROTH) or bool(mode & stat.S_IRGRP and facts.st_gid in _EVERYBODYS)
