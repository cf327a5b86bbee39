"""The one verdict type of every check."""

from __future__ import annotations

import enum


class Verdict(enum.StrEnum):
    """What admission says of a connection; also the ``result`` label of tlsgate_connections_total."""

    ACCEPTED = "accepted"
    OVER_CAPACITY = "over_capacity"
    OVER_NETWORK_CAP = "over_network_cap"
    OVER_RATE = "over_rate"
    BLOCKED = "blocked"
    BANNED = "banned"
    NO_PROXY_HEADER = "no_proxy_header"
    STATE_DOWN = "state_down"
    NOT_SERVED = "not_served"
    SHUTDOWN = "shutdown"
