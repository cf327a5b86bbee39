"""The dialogue of POP3 with a backend."""

from __future__ import annotations

from fuzz.backend_side import fuzz_backend
from tlsgate.dialogue.pop3_backend import Pop3Backend


def fuzz(data: bytes) -> None:
    fuzz_backend(Pop3Backend, data)
