"""The dialogue of IMAP with a client."""

from __future__ import annotations

from fuzz.client_side import fuzz_client
from tlsgate.dialogue.imap import Imap


def fuzz(data: bytes) -> None:
    fuzz_client(Imap, data)
