"""tlsgate ban: refuse a network from now on, for a while."""

from __future__ import annotations

import argparse

import msgspec

from tlsgate.cli.admin_api import AdminApi, answered, printable
from tlsgate.cli.bans import Ban, moment


def execute(arguments: argparse.Namespace) -> int:
    """Ban ``arguments.network``; gives the exit code."""
    return answered(_ban, arguments)


def _ban(api: AdminApi, arguments: argparse.Namespace) -> None:
    wanted = {"network": arguments.network, "seconds": arguments.seconds}
    if arguments.reason is not None:
        wanted["reason"] = arguments.reason
    ban = api.ask("POST", "/api/bans", msgspec.json.encode(wanted)).read(Ban)
    print(f"{printable(ban.network)} is banned until {moment(ban.until)}")
