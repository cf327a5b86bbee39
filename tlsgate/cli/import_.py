"""tlsgate import: another proxy's config as one of ours. What can't be carried over goes to standard error."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tlsgate.importing.draft import Draft
from tlsgate.importing.nginx import import_nginx
from tlsgate.importing.perdition import import_perdition
from tlsgate.importing.reading import CannotImport
from tlsgate.importing.stunnel import import_stunnel
from tlsgate.importing.toml import toml

ALL, PARTLY = 0, 1
_IMPORTS: dict[str, Callable[[Path, str], Draft]] = {
    "nginx": import_nginx,
    "perdition": import_perdition,
    "stunnel": import_stunnel,
}


def execute(arguments: argparse.Namespace) -> int:
    """Print what ``arguments.file``, of ``arguments.source``, is here; gives the exit code."""
    try:
        draft = _IMPORTS[arguments.source](arguments.file, socket.gethostname())
    except CannotImport as fault:
        for line in str(fault).split("\n"):
            print("".join(each if each.isprintable() else "?" for each in line), file=sys.stderr)
        return PARTLY
    print(toml(draft, f"{arguments.source}'s {arguments.file}"), end="")
    for line in draft.missing:
        print(line, file=sys.stderr)
    return PARTLY if draft.missing else ALL
