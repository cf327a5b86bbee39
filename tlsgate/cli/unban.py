"""tlsgate unban: end a ban before its time."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from tlsgate.cli.admin_api import AdminApi, NotDone, answered, printable


def execute(arguments: argparse.Namespace) -> int:
    """Lift the ban of ``arguments.network``; gives the exit code."""
    return answered(_unban, arguments)


def _unban(api: AdminApi, arguments: argparse.Namespace) -> None:
    network = arguments.network
    # Not as a part of the path: "" would lead elsewhere.
    answer = api.ask("DELETE", f"/api/bans?network={quote(network, safe='/:')}", expected=404)
    if answer.status == 404:
        raise NotDone(f"{printable(network)} is not banned; `tlsgate bans` lists who is")
    print(f"{printable(network)} is no longer banned")
