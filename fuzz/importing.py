"""Imports somebody else's config, and holds the import to what is promised of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fuzz.files import written
from tlsgate.config import load
from tlsgate.importing.draft import Draft
from tlsgate.importing.reading import CannotImport
from tlsgate.importing.toml import toml


def fuzz_import(importing: Callable[[Path, str], Draft], data: bytes) -> None:
    path = written(data, "a.conf")
    try:
        draft = importing(path, "gate.example.org")
    except CannotImport as fault:
        assert str(fault).replace("\n", "").isprintable()
        return
    load(written(toml(draft, "fuzzing").encode(), "made.toml"))
