"""What goes wrong at a backend, as a bounded reason for metrics and a text for the log."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Label values of tlsgate_backend_failures_total."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    TLS = "tls"
    PROTOCOL = "protocol"
    CLOSED = "closed"
    CAPACITY = "capacity"


class BackendFault(Exception):
    """A backend can't be used now. The text is for the log; it never holds a secret.

    ``down``: the backend is to blame, whoever asks. False where a client's login may be, or we ourselves.
    """

    def __init__(self, reason: Reason, text: str, *, down: bool = True) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason
        self.text = text
        self.down = down


class NoBackend(Exception):
    """No backend of a pool could serve a login. The text says why of the last one tried."""
