"""A DNS list's zone as strangers and log readers may see it."""

from __future__ import annotations

import re

# Spamhaus DQS, Abusix and others sell a zone to each customer: "<key>.zen.dq.spamhaus.net". Who knows the key asks
# at the customer's cost.
_KEY = re.compile(r"(?=[a-z]*[0-9])[a-z0-9]{16,}\.(?=[^.]+\.[^.])", re.IGNORECASE)


def shown(zone: str) -> str:
    """The zone without the customer's key in front."""
    key = _KEY.match(zone)
    return zone[key.end() :] if key else zone
