"""SCRAM secrets out of password hashes, and what a decoy among them must look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tlsgate.auth.hashes import PasswordHash
from tlsgate.dialogue.scram_secret import ScramSecret, read_secret

SCHEME = "SCRAM-SHA-256"
ITERATIONS = 100_000
"""Of new ones: the client does them at each login, some 0.1 s on a phone."""
SALT = 16


def secret_of(stored: PasswordHash | None) -> ScramSecret | None:
    """The SCRAM-SHA-256 secret that a hash is, None for another one, or one that no client should take."""
    if stored is None or stored.scheme != SCHEME:
        return None
    try:
        return read_secret(f"{{{SCHEME}}}{stored.text}")
    except ValueError:
        return None


def typical_shape(hashes: Iterable[PasswordHash]) -> ScramSecret:
    """A secret with the iterations and the salt's length that most have, and nothing of anybody's in it."""
    shapes = Counter((each.iterations, len(each.salt)) for each in map(secret_of, hashes) if each is not None)
    iterations, salt = shapes.most_common(1)[0][0] if shapes else (ITERATIONS, SALT)
    return ScramSecret(iterations, bytes(salt), bytes(32), bytes(32))
