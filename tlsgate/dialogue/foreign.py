"""Peers that speak another protocol: browsers' requests (cross-protocol attacks) and TLS where clear text is due."""

from __future__ import annotations

import re

_HTTP = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) \S* ?HTTP/"
    rb"|(?:GET|HEAD|POST|PUT|OPTIONS) /|HOST:",
    re.IGNORECASE,
)
TLS_HANDSHAKE_RECORD = 0x16


def is_foreign(line: bytes) -> bool:
    """Whether a command line is an HTTP request line or its Host header (cases.md A17)."""
    return _HTTP.match(line) is not None
