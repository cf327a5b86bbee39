"""Certificates, keys and CAs are loaded again when their files change: by certbot, cert-manager or by hand.

By looking at where the links lead now and then, not by a watcher: what swaps is a link in a directory above the file
(cert-manager's ..data), which a watcher of the file never hears of, nor one of a network's file system of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from tlsgate.prepared import Prepared, prepare
from tlsgate.tls.files import Stamp, stamps

# Files are taken once two polls saw the same: a chain whose end is still being written may pass for a whole one.
# Those that never rest are taken all the same.
_PATIENCE = 3
_AGAIN = 30  # polls after which what couldn't be used is tried again without a change


class Renewing(Protocol):
    """Who can read the files. Neither is for the trio loop; the spawner's raise SpawnFault."""

    def changed(self) -> bool: ...
    def renewed(self) -> Prepared: ...


class Renewal:
    """Looks at the files of the config in force, ``now``."""

    def __init__(self, now: Callable[[], Prepared]) -> None:
        self._now = now
        self._before: Mapping[Path, Stamp] | None = None
        self._tried: Mapping[Path, Stamp] | None = None
        self._restless = self._waited = 0

    def changed(self) -> bool:
        """Whether it is time to load them again; to be asked at each poll."""
        now = self._now()
        found = stamps(now.settings)
        settled, self._before = found == self._before, found
        if found == now.files:
            self._restless, self._tried = 0, None
            return False
        self._restless = 0 if settled else self._restless + 1
        if not settled and self._restless < _PATIENCE:
            return False
        self._waited = self._waited + 1 if found == self._tried else 0
        self._tried = found
        return self._waited % _AGAIN == 0

    def renewed(self) -> Prepared:
        """The same config with all that it names loaded again. Raises CertificateFault."""
        return prepare(self._now().settings)
