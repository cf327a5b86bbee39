"""tlsgate report: whose clients are to be set up anew."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from tlsgate.cli.admin_api import AdminApi, answered, as_json
from tlsgate.cli.bans import moment
from tlsgate.cli.table import table
from tlsgate.ops.client_report import Habit, Noted

_COLUMNS = {
    Habit.OLD_TLS: "tls below 1.3",
    Habit.NO_SNI: "no sni",
    Habit.STARTTLS: "starttls",
    Habit.CLEARTEXT: "in clear",
}
_HEADINGS = ("user", *_COLUMNS.values(), "last", "client", "listener")


def execute(arguments: argparse.Namespace) -> int:
    """Show who comes with old clients; gives the exit code."""
    return answered(_report, arguments)


def _report(api: AdminApi, arguments: argparse.Namespace) -> None:
    noted = api.read("/api/report", list[Noted])
    if arguments.json:
        print(as_json(noted))
    elif not noted:
        print("nobody has come with an old client")
    else:
        print("\n".join(_lines(noted)))


def _lines(noted: Sequence[Noted]) -> Iterator[str]:
    users: dict[str, dict[Habit, Noted]] = {}
    for each in noted:
        users.setdefault(each.user, {})[each.habit] = each
    yield from table(_HEADINGS, [_row(user, habits) for user, habits in users.items()])
    if any(Habit.CLEARTEXT in habits for habits in users.values()):
        yield ""
        yield "in clear: refused, yet the password may have been read on its way; anybody can name any user there"


def _row(user: str, habits: dict[Habit, Noted]) -> tuple[str, ...]:
    last = max(habits.values(), key=lambda each: each.last)
    counts = [str(habits[habit].count) if habit in habits else "-" for habit in _COLUMNS]
    return user, *counts, moment(last.last), last.client, last.listener
