"""A config of nginx's: what is imported is a config that can be loaded."""

from __future__ import annotations

from fuzz.importing import fuzz_import
from tlsgate.importing.nginx import import_nginx


def fuzz(data: bytes) -> None:
    fuzz_import(import_nginx, data)
