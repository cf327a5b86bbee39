"""Logins that were found right a moment ago, so that clients who log in again and again cost no check each time."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, TypeVar

from tlsgate.config import Protocol
from tlsgate.dialogue.credentials import Credentials

MOST_ENTRIES = 10_000

Verdict = TypeVar("Verdict")


class SuccessCache(Generic[Verdict]):
    """Verdicts on what was right, for ``ttl`` seconds of ``clock``, which never goes back. Failures aren't for it.

    An entry is found by an HMAC of all that was shown, and of who has shown it: no secret is kept. ``key``: random, and
    this process's own.
    """

    def __init__(self, ttl: float, key: bytes, clock: Callable[[], float]) -> None:
        self._ttl = ttl
        self._key = key
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()
        self.generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, shown: Credentials, protocol: Protocol, client: IPv4Address | IPv6Address) -> Verdict | None:
        """What was put for the very same, if it isn't too old."""
        found = self._entries.get(self._name(shown, protocol, client))
        return found[1] if found is not None and self._clock() < found[0] else None

    def put(
        self,
        shown: Credentials,
        protocol: Protocol,
        client: IPv4Address | IPv6Address,
        verdict: Verdict,
        generation: int,
    ) -> None:
        """Remember. ``generation``: that in which the check began; what was cleared since isn't brought back."""
        if generation != self.generation:
            return
        now = self._clock()
        entries = self._entries
        entries.pop(name := self._name(shown, protocol, client), None)
        entries[name] = now + self._ttl, verdict
        # All live for as long, so the oldest end first.
        while entries and (len(entries) > MOST_ENTRIES or next(iter(entries.values()))[0] <= now):
            entries.popitem(last=False)

    def clear(self) -> None:
        """Forget all: what was right may not be any more."""
        self._entries.clear()
        self.generation += 1

    def _name(self, shown: Credentials, protocol: Protocol, client: IPv4Address | IPv6Address) -> bytes:
        fields = (
            shown.user.encode(),
            shown.authzid.encode(),
            shown.secret,
            protocol.encode(),
            str(client).encode(),
        )
        # With their lengths: no two sets of fields are one text.
        text = b"".join(len(each).to_bytes(4, "big") + each for each in fields)
        return hmac.digest(self._key, text, "sha256")
