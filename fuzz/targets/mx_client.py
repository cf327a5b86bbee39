"""The dialogue of SMTP between servers with a client."""

from __future__ import annotations

from fuzz.client_side import fuzz_client
from tlsgate.dialogue.mx import Mx


def fuzz(data: bytes) -> None:
    fuzz_client(Mx, data)
