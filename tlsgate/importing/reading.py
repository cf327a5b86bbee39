"""Reading a config of somebody else's, bounded."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from tlsgate.secret_file import UnusableSecret, read_secret_file

_LARGEST = 1024**2


class Place(Struct, frozen=True):
    """Where something was written."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class CannotImport(Exception):
    """A file that can't be read, or has nothing for us. The text says where and why, and quotes nothing of it."""


def read(path: Path) -> str:
    """A text of at most 1 MiB, with LF as line ends; what isn't UTF-8 is replaced. Raises CannotImport."""
    try:
        data = read_secret_file(path, _LARGEST).data  # some have passwords in them
    except UnusableSecret as fault:
        raise CannotImport(f"{path}: {fault}") from None
    except ValueError:  # a NUL in the path
        raise CannotImport(f"{path}: is not a path") from None
    return data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
