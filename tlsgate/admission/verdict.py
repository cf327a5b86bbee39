"""The one verdict type of every check."""

from __future__ import annotations

import enum


class Verdict(enum.StrEnum):
    """What admission says of a connection; also the ``result`` label of tlsgate_connections_total."""

    ACCEPTED = "accepted"
    OVER_CAPACITY = "over_capacity"
