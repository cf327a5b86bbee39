"""tlsgate reload: take over a changed config, or say what is wrong with it."""

from __future__ import annotations

import argparse

from tlsgate.cli.admin_api import AdminApi, NotDone, answered, printable
from tlsgate.ops.gateway_view import ReloadView

_PATIENCE = 120.0  # lists of a million lines, and workers that come up
_REJECTED = 422


def execute(arguments: argparse.Namespace) -> int:
    """Have the gateway reload; gives the exit code."""
    return answered(_reload, arguments)


def _reload(api: AdminApi, _arguments: argparse.Namespace) -> None:
    answer = api.ask("POST", "/api/reload", expected=_REJECTED, within=_PATIENCE)
    if answer.status == _REJECTED:
        faults = "\n".join(printable(line) for line in answer.error.splitlines())
        raise NotDone(f"the config is rejected, and nothing has changed:\n{faults}")
    done = answer.read(ReloadView)
    print("reloaded" + (f"; only a restart changes {printable(done.needs_restart)}" if done.needs_restart else ""))
