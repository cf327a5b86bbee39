"""tlsgate bans: who is banned now."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

import msgspec

from tlsgate.cli.admin_api import STRANGE, AdminApi, NotDone, answered
from tlsgate.cli.table import span, table

_HEADINGS = ("network", "until", "left", "count", "reason")


class Ban(msgspec.Struct):
    """What is shown of a ban. ``until``: seconds of the epoch."""

    network: str
    until: float
    seconds_left: float
    count: int
    reason: str


def execute(arguments: argparse.Namespace) -> int:
    """List the bans in force; gives the exit code."""
    return answered(_bans, arguments)


def _bans(api: AdminApi, arguments: argparse.Namespace) -> None:
    answer = api.ask("GET", "/api/bans")
    bans = answer.read(list[Ban])
    if arguments.json:
        print(answer.body.decode())
    elif not bans:
        print("nobody is banned")
    else:
        print("\n".join(table(_HEADINGS, [_row(ban) for ban in sorted(bans, key=lambda each: each.until)])))


def _row(ban: Ban) -> tuple[str, ...]:
    return ban.network, moment(ban.until), span(ban.seconds_left), str(ban.count), ban.reason


def moment(seconds: float) -> str:
    """A time of the epoch for people. Raises NotDone: it is none."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        raise NotDone(STRANGE) from None
