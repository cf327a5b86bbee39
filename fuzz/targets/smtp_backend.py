"""The dialogue of SMTP with a backend."""

from __future__ import annotations

from fuzz.backend_side import fuzz_backend
from tlsgate.dialogue.smtp_backend import SmtpBackend


def fuzz(data: bytes) -> None:
    fuzz_backend(SmtpBackend, data)
