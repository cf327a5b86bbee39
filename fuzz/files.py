"""A file for parsers that read files themselves."""

from __future__ import annotations

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp


@cache
def _directory() -> Path:
    directory = Path(mkdtemp(prefix="tlsgate-fuzz-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def written(data: bytes, name: str) -> Path:
    """The path of a file with these octets, alone in its directory but for others of other names."""
    path = _directory() / name
    path.write_bytes(data)
    return path
