"""A config of stunnel's: what is imported is a config that can be loaded."""

from __future__ import annotations

from fuzz.importing import fuzz_import
from tlsgate.importing.stunnel import import_stunnel


def fuzz(data: bytes) -> None:
    fuzz_import(import_stunnel, data)
