"""tlsgate sessions: who is connected now."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from tlsgate.cli.admin_api import AdminApi, answered, as_json
from tlsgate.cli.table import size, span, table
from tlsgate.ops.session_view import LiveSession, Page

_HEADINGS = ("id", "listener", "client", "user", "phase", "for", "tls", "cipher", "backend", "in", "out")
_FILTERS = ("user", "client", "listener")


def execute(arguments: argparse.Namespace) -> int:
    """List the sessions that live; gives the exit code."""
    return answered(_sessions, arguments)


def _sessions(api: AdminApi, arguments: argparse.Namespace) -> None:
    wanted = {each: value for each in _FILTERS if (value := getattr(arguments, each))}
    found = sorted(_all(api, wanted), key=lambda each: each.since)
    if arguments.json:
        print(as_json(found))
    elif not found:
        print("there is no such session" if wanted else "nobody is connected")
    else:
        print("\n".join(table(_HEADINGS, [_row(each, time.time()) for each in found])))


def _all(api: AdminApi, wanted: dict[str, str]) -> Iterator[LiveSession]:
    """Those of every page. Those that begin or end meanwhile may be on none."""
    after: str | None = ""
    while after is not None:
        page = api.read(f"/api/sessions?{urlencode({**wanted, 'after': after})}", Page)
        yield from page.sessions
        after = page.next


def _row(each: LiveSession, now: float) -> tuple[str, ...]:
    return (
        each.id,
        each.listener,
        each.client,
        each.user or "-",
        each.phase,
        span(max(0.0, now - each.since)),
        each.tls_version or "-",
        each.cipher or "-",
        each.backend or "-",
        size(each.bytes_in),
        size(each.bytes_out),
    )
