"""The dialogue of SMTP submission with a client."""

from __future__ import annotations

from fuzz.client_side import fuzz_client
from tlsgate.dialogue.submission import Submission


def fuzz(data: bytes) -> None:
    fuzz_client(Submission, data)
