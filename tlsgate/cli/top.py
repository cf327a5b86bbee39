"""tlsgate top: watch a running gateway."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from tlsgate.cli.admin_api import AdminApi, NotDone, answered, as_json
from tlsgate.cli.screen import Screen
from tlsgate.cli.status import backends, headline
from tlsgate.cli.table import size, span, table
from tlsgate.ops.gateway_view import GatewayView
from tlsgate.ops.pool_view import PoolView
from tlsgate.ops.session_view import LiveSession, Page

_INTERVAL = 2.0
_MOST_BACKENDS = 6
_SESSIONS = "/api/sessions?busiest=true&limit=100"
# The most telling first: 80 columns have no room for all.
_HEADINGS = ("in", "out", "per s", "for", "user", "client", "listener", "phase", "id")


class Look(msgspec.Struct, frozen=True):
    """What is seen at one moment, ``at`` seconds of the epoch."""

    at: float
    state: GatewayView
    pools: list[PoolView]
    sessions: Page


def execute(arguments: argparse.Namespace) -> int:
    """Watch until q is pressed; without a terminal, or as JSON, look once. Gives the exit code."""
    return answered(_top, arguments)


def _top(api: AdminApi, arguments: argparse.Namespace) -> None:
    look = _look(api)
    if arguments.json:
        print(as_json(look))
    elif not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("\n".join(frame(look, None, None)))
    else:
        _watch(api, look)


def _watch(api: AdminApi, look: Look) -> None:
    before: Look | None = None
    with Screen() as screen:
        screen.show(frame(look, None, screen.height))
        while not screen.quit_within(_INTERVAL):
            try:
                before, look = look, _look(api)
            except NotDone as fault:  # it may be back in a moment: a restart
                screen.show([str(fault), "", *frame(look, before, screen.height - 2)])
            else:
                screen.show(frame(look, before, screen.height))


def _look(api: AdminApi) -> Look:
    state, pools = api.read("/api/state", GatewayView), api.read("/api/pools", list[PoolView])
    return Look(time.time(), state, pools, api.read(_SESSIONS, Page))


def frame(look: Look, before: Look | None, height: int | None) -> list[str]:
    """The lines of a screen. ``before``: the look before, for what moves. ``height``: lines there are, None for all."""
    known = {} if before is None else {each.id: each.bytes_in + each.bytes_out for each in before.sessions.sessions}
    seconds = 0.0 if before is None else look.at - before.at
    lines = [headline(look.state), _counts(look.state), "", *_backends(look.pools), ""]
    sessions = sorted(look.sessions.sessions, key=lambda each: -_rate(each, known, seconds))
    lines += table(_HEADINGS, [_row(each, look.at, _rate(each, known, seconds)) for each in sessions])
    return lines if height is None else lines[:height]


def _counts(state: GatewayView) -> str:
    phases: dict[str, int] = {}
    for listener in state.listeners:
        for phase, count in listener.sessions.items():
            phases[phase] = phases.get(phase, 0) + count
    words = [f"{phase} {count}" for phase, count in phases.items()]
    if state.workers:
        words.append(f"workers {len(state.workers)}")
    return ", ".join(words)


def _backends(pools: Sequence[PoolView]) -> Iterator[str]:
    """Those that are down first; there may be more than a screen has room for."""
    lines = list(backends(pools))
    rows = sorted(lines[1:], key=lambda line: " DOWN " not in line)
    yield lines[0]
    yield from rows[:_MOST_BACKENDS]
    if len(rows) > _MOST_BACKENDS:
        yield f"and {len(rows) - _MOST_BACKENDS} more"


def _rate(each: LiveSession, known: Mapping[str, int], seconds: float) -> float:
    """Octets a second since the look before; 0 for who wasn't seen there."""
    now = each.bytes_in + each.bytes_out
    return max(0, now - known.get(each.id, now)) / seconds if seconds > 0 else 0.0


def _row(each: LiveSession, now: float, rate: float) -> tuple[str, ...]:
    octets = (size(each.bytes_in), size(each.bytes_out), size(rate))
    name, age = (each.user or "-")[:24], span(max(0.0, now - each.since))
    return *octets, age, name, each.client, each.listener, each.phase, each.id
