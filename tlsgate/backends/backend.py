"""One legacy server, and what is known of it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Protocol

import trio

from tlsgate import config
from tlsgate.backends.resolve import SYSTEM, Names
from tlsgate.backends.stream import client_context
from tlsgate.config import Address, BackendTls, ClientAddress, MxName, SrvName
from tlsgate.state.store import Place, Store

_LEAST_SHARE = 0.05


class BackendTrace(Protocol):
    """What is told about one backend as it happens."""

    def up(self, up: bool) -> None: ...
    def connected(self) -> None: ...
    def answered(self, seconds: float) -> None: ...
    def disconnected(self) -> None: ...
    def failed(self, reason: str) -> None: ...


class Backend:
    """One legacy server and what is known of it.

    ``up``: whether it was last seen working; ``told_up``: whether that is what was told. ``capabilities``: what it said
    it can do, None before it was asked. ``client_address``: how it learns who a client is. ``rank``: lower first.
    ``last_failure``: when, in seconds of the epoch, and why.
    """

    def __init__(
        self,
        pool: str,
        settings: config.Backend,
        trace: BackendTrace,
        context: ssl.SSLContext | None = None,
        client_address: ClientAddress = ClientAddress.NONE,
        *,
        names: Names = SYSTEM,
        slow_start: float = 0.0,
    ) -> None:
        """``context``: for its TLS; without one it is made here, which reads files. ``slow_start``: seconds."""
        if isinstance(settings.address, SrvName | MxName):
            raise TypeError(f"{settings.address} is no one server")
        self.pool = pool
        self.settings = settings
        self.where: Address = settings.address
        self.address = str(settings.address)
        self.client_address = client_address
        self.names = names
        self.trace = trace
        self.rank: tuple[int, int] = (settings.priority, 0)
        self.full_weight: float = settings.weight
        self.up = self.told_up = True
        self.capabilities: tuple[str, ...] | None = None
        self.last_failure: tuple[float, str] | None = None
        self.connections = 0
        self.on_change: Callable[[Backend, str], None] | None = None
        self.on_not_told: Callable[[Backend, int, str], None] | None = None
        self._slow_start = slow_start
        self._back_at: float | None = None
        self._place = Place(f"backend {self.address}", 0)
        self._elsewhere: Store | None = None
        self._places: list[Store] = []
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

    @property
    def weight(self) -> float:
        """Its share within its rank; after an outage it grows to the whole over ``slow_start``."""
        if self._back_at is None:
            return self.full_weight
        grown = (trio.current_time() - self._back_at) / self._slow_start
        if grown >= 1:
            self._back_at = None
        return self.full_weight * min(max(grown, _LEAST_SHARE), 1.0)

    def serve(self, context: ssl.SSLContext | None, connections: int, elsewhere: Store | None) -> None:
        """Take this context from now on, and tell how it is.

        ``connections``: the most in all processes that share ``elsewhere``; None where only ours count.
        """
        self._context = context
        self._place, self._elsewhere = Place(f"backend {self.address}", connections), elsewhere
        self.trace.up(self.told_up)

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
        if not up:
            self.last_failure = time.time(), why
        told_up = up or not (sure or again)
        if told_up == self.told_up:
            return
        self.told_up = told_up
        if told_up and self._slow_start:
            self._back_at = trio.current_time()
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
