"""The fields that a message gets from us at its head."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from tlsgate.dialogue.client import ClientFacts
from tlsgate.mail.authentication_results import Result, authentication_results
from tlsgate.mail.received import Tls, received


class Stamp(Struct, frozen=True):
    """Makes the fields of one session's messages. ``hostname``: ours. ``tls``: None for a client in clear."""

    hostname: str
    client: ClientFacts
    tls: Tls | None
    logged_in: bool

    def fields(self, results: Iterable[Result] | None = None) -> bytes:
        """Received, and Authentication-Results above it unless ``results`` is None; with their line ends."""
        own = received(self.client, self.hostname, self.tls, datetime.now().astimezone(), logged_in=self.logged_in)
        return own if results is None else authentication_results(self.hostname, results) + own
