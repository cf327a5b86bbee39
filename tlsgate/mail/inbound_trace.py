"""What is told of mail from other servers that isn't taken."""

from __future__ import annotations

from typing import Protocol


class InboundTrace(Protocol):
    """``screened``: something is against a client, or its mail from ``sender``; ``result``: what comes of it."""

    def recipient_refused(self, sender: str, recipient: str, reason: str) -> None: ...
    def screened(self, result: str, score: int, found: str, sender: str | None = None) -> None: ...
