"""A pool's backends and which of them to try: decided at once, before any I/O."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Protocol

from tlsgate import config
from tlsgate.backends.stream import client_context
from tlsgate.config import BackendTls


class BackendTrace(Protocol):
    """What is told about one backend as it happens."""

    def up(self, up: bool) -> None: ...
    def connected(self) -> None: ...
    def answered(self, seconds: float) -> None: ...
    def disconnected(self) -> None: ...
    def failed(self, reason: str) -> None: ...


class Backend:
    """One legacy server and what is known of it.

    ``up``: whether it was last seen working. ``capabilities``: what it said it can do, None before it was asked.
    """

    def __init__(self, pool: str, settings: config.Backend, trace: BackendTrace) -> None:
        self.pool = pool
        self.settings = settings
        self.address = str(settings.address)
        self.trace = trace
        self.up = True
        self.capabilities: tuple[str, ...] | None = None
        self.connections = 0
        self.on_change: Callable[[Backend, str], None] | None = None
        self._context: ssl.SSLContext | None = None
        if settings.tls is not BackendTls.NONE:
            self._context = client_context(settings)
        trace.up(True)

    @property
    def tls_context(self) -> ssl.SSLContext:
        """The context for its TLS; only for backends that have any."""
        if self._context is None:
            raise LookupError("a backend without TLS has no context")
        return self._context

    def taken(self) -> None:
        """One more connection to it is begun."""
        self.connections += 1
        self.trace.connected()

    def released(self) -> None:
        """One of its connections is closed."""
        self.connections -= 1
        self.trace.disconnected()

    def mark(self, *, up: bool, why: str = "") -> None:
        """Note that it works, or that it doesn't and why; a change is told once."""
        if up == self.up:
            return
        self.up = up
        self.trace.up(up)
        if self.on_change is not None:
            self.on_change(self, why)


class Pool:
    """Backends in the order of their priority; those of one priority share by weight."""

    def __init__(
        self,
        name: str,
        settings: config.Pool,
        trace: Callable[[str, str], BackendTrace],
        *,
        connections: int,
    ) -> None:
        self.name = name
        self.settings = settings
        self.backends = [Backend(name, each, trace(name, str(each.address))) for each in settings.backends]
        self._most_connections = connections

    def candidates(self) -> Iterator[Backend]:
        """The backends to try for one login, best first: those that are up, then the others.

        One that is marked down is still tried last: it may be back before the next probe. Ask for the next one only
        when the last one has failed: whether one has a place left is looked at then.
        """
        for backend in sorted(self.backends, key=lambda each: (not each.up, each.settings.priority, _draw(each))):
            if backend.connections < self._most_connections:
                yield backend

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What every backend that is up has said it can do; () before any has answered."""
        return _common(
            tuple([each.capabilities for each in self.backends if each.up and each.capabilities is not None])
        )


@lru_cache(64)
def _common(known: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    if not known:
        return ()
    return tuple(word for word in known[0] if all(word in others for others in known[1:]))


def _draw(backend: Backend) -> float:
    # Exponential variates scaled by weight sort into a weighted random order (Efraimidis and Spirakis).
    return random.expovariate(backend.settings.weight)
