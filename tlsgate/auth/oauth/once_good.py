"""Tokens that were good: one of them that isn't any more is an old one, and no guess."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from tlsgate.auth.oauth.token import AccessToken

# Seconds: a phone that was off at night comes back with yesterday's.
REMEMBERED = 24 * 3600.0
MOST_REMEMBERED = 10_000


class OnceGood:
    """By a keyed hash each, of this process: a look into memory shows none. The one seen longest ago goes first."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._key = secrets.token_bytes(32)
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def note(self, token: AccessToken, now: float) -> None:
        """It is good ``now``."""
        name = self._name(token)
        self._seen[name] = now
        self._seen.move_to_end(name)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def was(self, token: AccessToken, now: float) -> bool:
        """Whether it was found good within REMEMBERED."""
        seen = self._seen.get(self._name(token))
        return seen is not None and now - REMEMBERED < seen

    def _name(self, token: AccessToken) -> bytes:
        return hashlib.blake2b(token.text.encode(), key=self._key, digest_size=16).digest()
