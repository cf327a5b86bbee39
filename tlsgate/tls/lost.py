"""How a connection ends when it doesn't end in order."""

from __future__ import annotations


class StreamLost(Exception):
    """The connection broke, or its TLS did. ``reason`` is a short text of ours or OpenSSL's, fit for a log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Expired(StreamLost):
    """The time that a wait on the socket had is over. The socket is still open."""

    def __init__(self) -> None:
        super().__init__("no answer in time")
