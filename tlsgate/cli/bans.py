"""tlsgate bans: who is banned now."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from tlsgate.cli.admin_api import AdminApi, NotDone, answered, printable

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
        print("\n".join(_table(bans)))


def _table(bans: Sequence[Ban]) -> Iterator[str]:
    """The soonest to end first."""
    rows = [_HEADINGS]
    for ban in sorted(bans, key=lambda each: each.until):
        network, reason = printable(ban.network), printable(ban.reason)
        rows.append((network, moment(ban.until), _left(ban.seconds_left), str(ban.count), reason))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def moment(seconds: float) -> str:
    """A time of the epoch for people. Raises NotDone: it is none."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        raise NotDone("what answers there is no tlsgate, or another version of it") from None


def _left(seconds: float) -> str:
    """A time in its two largest units."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{number}{unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (left, "s")) if number]
    return " ".join(parts[:2]) or "0s"
