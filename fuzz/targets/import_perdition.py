"""A config of perdition's: what is imported is a config that can be loaded."""

from __future__ import annotations

from fuzz.importing import fuzz_import
from tlsgate.importing.perdition import import_perdition


def fuzz(data: bytes) -> None:
    fuzz_import(import_perdition, data)
