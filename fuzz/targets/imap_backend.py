"""The dialogue of IMAP with a backend."""

from __future__ import annotations

from fuzz.backend_side import fuzz_backend
from tlsgate.dialogue.imap_backend import ImapBackend


def fuzz(data: bytes) -> None:
    fuzz_backend(ImapBackend, data)
