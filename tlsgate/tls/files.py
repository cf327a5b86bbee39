"""The files of certificates, keys and CAs that a config names, and whether they are still those that were read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tlsgate.config import BackendTls, Config

# What tells one content of a file from the next, wherever links lead to; or why nobody can tell.
Stamp = tuple[int, ...] | str


def stamps(settings: Config) -> Mapping[Path, Stamp]:
    """How the files are now. Asks the file system: not for the trio loop."""
    return {path: _stamp(path) for path in _files(settings)}


def _files(settings: Config) -> set[Path]:
    tls = settings.tls
    files = {tls.certificate, tls.private_key}
    for each in tls.sni:
        files |= {each.certificate, each.private_key}
    backends = [each for pool in settings.pools.values() for each in pool.backends if each.tls is not BackendTls.NONE]
    return files | {path for path in (tls.client_ca, *(each.ca for each in backends)) if path is not None}


def _stamp(path: Path) -> Stamp:
    try:
        facts = path.stat()
    except OSError as error:
        return str(error.strerror)
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
