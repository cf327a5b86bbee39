"""A file that is replaced as a whole: who reads it, even after a crash, sees the old text or the new one."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from tlsgate.auth.followed import read_file


def read(path: Path) -> bytes:
    """The whole file. Raises UnusableFile; FileNotFoundError."""
    return read_file(path)[0]


def rewrite(path: Path, edit: Callable[[bytes], bytes], *, create: bool = False) -> None:
    """Put what ``edit`` makes of a file's text in its place, with its mode and owner; one such change at a time.

    ``create``: one that isn't there is an empty text, and becomes a file of mode 0600. Raises UnusableFile, OSError,
    and what ``edit`` raises: then nothing has changed.
    """
    path = Path(os.path.realpath(path))  # a link must go on being one
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # The file itself won't do: whoever waits for its lock would change one that is no more.
        fcntl.flock(directory, fcntl.LOCK_EX)
        facts: os.stat_result | None
        try:
            data, facts = read_file(path)
        except FileNotFoundError:
            if not create:
                raise
            data, facts = b"", None
        _replace(path, edit(data), facts)
        os.fsync(directory)
    finally:
        os.close(directory)


def _replace(path: Path, data: bytes, facts: os.stat_result | None) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".tlsgate-", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            if facts is not None:
                os.fchown(descriptor, facts.st_uid, facts.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(facts.st_mode))
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink()
        raise
