"""tlsgate status: how a running gateway is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import msgspec

from tlsgate.cli.admin_api import AdminApi, answered, as_json, printable
from tlsgate.cli.bans import moment
from tlsgate.cli.table import span, table
from tlsgate.ops.gateway_view import GatewayView
from tlsgate.ops.pool_view import PoolView

_PHASES = ("handshake", "login", "relay", "mail")
_LISTENERS = ("listener", "protocol", "tls", "address", *_PHASES)
_BACKENDS = ("pool", "backend", "state", "connections", "last failure")
_WORKERS = ("worker", "phase", "sessions", "answers")


def execute(arguments: argparse.Namespace) -> int:
    """Show how the gateway is; gives the exit code."""
    return answered(_status, arguments)


def _status(api: AdminApi, arguments: argparse.Namespace) -> None:
    state, pools = api.read("/api/state", GatewayView), api.read("/api/pools", list[PoolView])
    if arguments.json:
        print(as_json({**msgspec.structs.asdict(state), "pools": pools}))
    else:
        print("\n".join(_lines(state, pools)))


def _lines(state: GatewayView, pools: Sequence[PoolView]) -> Iterator[str]:
    yield headline(state)
    if state.reload is not None:
        what = "reloaded" if state.reload.ok else "a reload was rejected, and the config of before is in force"
        yield f"{what}: {moment(state.reload.at)}"
        yield from (f"  {printable(line)}" for line in state.reload.reason.splitlines())
    yield ""
    yield from table(
        _LISTENERS,
        [_listener(each.name, each.protocol, each.tls, each.address, each.sessions) for each in state.listeners],
    )
    yield ""
    yield from backends(pools)
    if state.workers:
        yield ""
        rows = [
            (str(each.pid), each.phase, str(each.sessions), "late" if each.late else "yes") for each in state.workers
        ]
        yield from table(_WORKERS, rows)
    yield ""
    yield from table(("certificate", "until"), [(each.path, moment(each.expires)) for each in state.certificates])


def headline(state: GatewayView) -> str:
    """What matters most, on one line."""
    return printable(
        f"tlsgate {state.version} of {state.hostname}: {state.phase}, up {span(state.uptime)}, "
        f"{state.connections} of {state.most_connections} connections, {state.bans} banned"
    )


def backends(pools: Sequence[PoolView]) -> Iterator[str]:
    """A table of them."""
    rows = []
    for pool in pools:
        for each in pool.backends:
            failed = f"{moment(each.failed_at)} {each.failure or ''}" if each.failed_at is not None else "-"
            rows.append((pool.name, each.address, "up" if each.up else "DOWN", str(each.connections), failed))
    return table(_BACKENDS, rows)


def _listener(
    name: str, protocol: str | None, tls: str | None, address: str | None, sessions: dict[str, int]
) -> tuple[str, ...]:
    counts = [str(sessions.get(phase, 0)) for phase in _PHASES]
    return name, protocol or "-", tls or "-", address or "removed", *counts
