"""A pool's backends and which of them to try: decided at once, before any I/O."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Protocol

from tlsgate import config
from tlsgate.backends.stream import client_context
from tlsgate.config import BackendTls, ClientAddress
from tlsgate.state.store import Place, Store


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
    ``client_address``: how it learns who a client is.
    """

    def __init__(
        self,
        pool: str,
        settings: config.Backend,
        trace: BackendTrace,
        context: ssl.SSLContext | None = None,
        client_address: ClientAddress = ClientAddress.NONE,
    ) -> None:
        """``context``: for its TLS; without one it is made here, which reads files."""
        self.pool = pool
        self.settings = settings
        self.address = str(settings.address)
        self.client_address = client_address
        self.trace = trace
        self.up = True
        self.capabilities: tuple[str, ...] | None = None
        self.connections = 0
        self.on_change: Callable[[Backend, str], None] | None = None
        self.on_not_told: Callable[[Backend, int, str], None] | None = None
        self._place = Place(f"backend {self.address}", 0)
        self._elsewhere: Store | None = None
        self._places: list[Store] = []
        self._told_up = True
        self._not_told: set[int] = set()
        self._context = context
        if context is None and settings.tls is not BackendTls.NONE:
            self._context = client_context(settings)

    @property
    def tls_context(self) -> ssl.SSLContext:
        """The context for its TLS; only for backends that have any."""
        if self._context is None:
            raise LookupError("a backend without TLS has no context")
        return self._context

    def serve(self, context: ssl.SSLContext | None, connections: int, elsewhere: Store | None) -> None:
        """Take this context from now on, and tell how it is.

        ``connections``: the most in all processes that share ``elsewhere``; None where only ours count.
        """
        self._context = context
        self._place, self._elsewhere = Place(f"backend {self.address}", connections), elsewhere
        self.trace.up(self._told_up)

    async def take(self) -> Place | None:
        """Begin one more connection to it; or what is full, as of a Store's ``enter``."""
        if self._elsewhere is not None:
            if (full := await self._elsewhere.enter((self._place,))) is not None:
                return full
            self._places.append(self._elsewhere)
        self.taken()
        return None

    def taken(self) -> None:
        """One more connection to it is begun."""
        self.connections += 1
        self.trace.connected()

    def released(self) -> None:
        """One of its connections is closed."""
        self.connections -= 1
        self.trace.disconnected()
        if self._places:
            self._places.pop().leave((self._place.key,))

    def mark(self, *, up: bool, why: str = "", sure: bool = False) -> None:
        """Note that it works, or that it doesn't and why; a change is told once.

        A failure that isn't ``sure`` is told when the next attempt fails too: one connection that breaks is no outage.
        """
        again, self.up = not self.up, up
        told_up = up or not (sure or again)
        if told_up == self._told_up:
            return
        self._told_up = told_up
        self.trace.up(told_up)
        if self.on_change is not None:
            self.on_change(self, why)

    def client_told(self, version: int, why_not: str = "") -> None:
        """Note that it took who a client is, or why it didn't; a change is told once.

        ``version``: of the client's IP, 0 for none: there are servers that take IPv4 clients only.
        """
        if not why_not:
            self._not_told.discard(version)
        elif version not in self._not_told:
            self._not_told.add(version)
            if self.on_not_told is not None:
                self.on_not_told(self, version, why_not)


class Pool:
    """Backends in the order of their priority; those of one priority share by weight."""

    def __init__(
        self,
        name: str,
        settings: config.Pool,
        trace: Callable[[str, str], BackendTrace],
        *,
        connections: int,
        contexts: Sequence[ssl.SSLContext | None] = (),
    ) -> None:
        """``connections``: the most at one backend. ``contexts``: as for ``serve``; without them files are read."""
        self.name = name
        self.settings = settings
        self.backends = [
            Backend(name, each, trace(name, str(each.address)), context, settings.client_address)
            for each, context in zip(settings.backends, contexts or repeat(None), strict=False)
        ]
        self._most_connections = connections

    def serve(
        self, contexts: Sequence[ssl.SSLContext | None], connections: int, elsewhere: Store | None = None
    ) -> None:
        """Take over what a reload has brought: the backends' contexts in their order, None for one without TLS.

        ``connections``, ``elsewhere``: as of Backend.
        """
        self._most_connections = connections
        for backend, context in zip(self.backends, contexts, strict=True):
            backend.serve(context, connections, elsewhere)

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
        """What every backend that is up has said it can do, or all of them when none is; () before any has answered."""
        known = [each for each in self.backends if each.capabilities is not None]
        up = [each for each in known if each.up]
        return _common(tuple([each.capabilities or () for each in up or known]))


@lru_cache(64)
def _common(known: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    if not known:
        return ()
    return tuple(word for word in known[0] if all(word in others for others in known[1:]))


def _draw(backend: Backend) -> float:
    # Exponential variates scaled by weight sort into a weighted random order (Efraimidis and Spirakis).
    return random.expovariate(backend.settings.weight)
