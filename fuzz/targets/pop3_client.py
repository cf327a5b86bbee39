"""The dialogue of POP3 with a client."""

from __future__ import annotations

from fuzz.client_side import fuzz_client
from tlsgate.dialogue.pop3 import Pop3


def fuzz(data: bytes) -> None:
    fuzz_client(Pop3, data)
