"""What /readyz answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """``ready``: whether a load balancer should send clients here."""

    ready: bool = False
