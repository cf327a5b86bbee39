"""The gateway as a whole as the admin API shows it."""

from __future__ import annotations

from typing import Any

import msgspec


class ListenerView(msgspec.Struct, frozen=True):
    """``address``: None for one that a reload has removed while sessions of it live. ``sessions``: by phase."""

    name: str
    protocol: str | None
    tls: str | None
    address: str | None
    sessions: dict[str, int]


class WorkerView(msgspec.Struct, frozen=True):
    """``phase``: "starting", "serving", or "ending" with its last sessions. ``late``: it gives no sign of life now."""

    pid: int
    phase: str
    sessions: int
    late: bool


class CertificateView(msgspec.Struct, frozen=True):
    """``expires``: seconds of the epoch."""

    path: str
    expires: float


class ReloadView(msgspec.Struct, frozen=True):
    """What became of a reload. ``at``: seconds of the epoch. ``reason``: why it was rejected, one line a fault.

    ``needs_restart``: keys that have changed and take effect at the next start.
    """

    at: float
    ok: bool
    reason: str
    needs_restart: str


class GatewayView(msgspec.Struct, frozen=True):
    """``started``: seconds of the epoch. ``phase``: "serving" or "draining".

    ``most_connections``: `limits.connections`, or fewer where descriptors are. ``workers``: none where one process is
    all. ``reload``: the last one, None before the first.
    """

    version: str
    openssl: str
    hostname: str
    started: float
    uptime: float
    phase: str
    connections: int
    most_connections: int
    bans: int
    listeners: list[ListenerView]
    workers: list[WorkerView]
    certificates: list[CertificateView]
    limits: dict[str, Any]
    reload: ReloadView | None
