"""A pool's backends and which of them to try: decided at once, before any I/O."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat

from tlsgate import config
from tlsgate.backends.backend import Backend, BackendTrace
from tlsgate.backends.entry import Entry
from tlsgate.backends.resolve import Names
from tlsgate.config import HostPort
from tlsgate.dns import Resolver
from tlsgate.state.store import Store

_MOST_NAMED = 256

__all__ = ["Backend", "BackendTrace", "Pool"]


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
        names: Names | None = None,
        hostname: str = "",
    ) -> None:
        """``connections``: the most at one backend. ``contexts``: as for ``serve``; without them files are read.

        ``names``: who knows where hosts are; None asks the system's name servers. ``hostname``: ours.
        """
        self.name = name
        self.settings = settings
        self.hostname = hostname
        names = names or Names(Resolver(config.Dns(), _Untold()))
        self.entries = [
            Entry(each, name, settings, trace(name, str(each.address)), context, names)
            for each, context in zip(settings.backends, contexts or repeat(None), strict=False)
        ]
        self._most_connections = connections
        self._named: dict[HostPort, Backend] = {}

    @property
    def backends(self) -> list[Backend]:
        """All servers at the time, in the order of the config."""
        return [backend for entry in self.entries for backend in entry.backends]

    def tell(
        self,
        changed: Callable[[Backend, str], None],
        not_told: Callable[[Backend, int, str], None],
        servers: Callable[[Entry], None],
    ) -> None:
        """Whom to tell what happens: as of Backend, and of Entry."""
        for entry in self.entries:
            entry.on_change, entry.on_not_told, entry.on_servers = changed, not_told, servers
            for backend in entry.backends:
                backend.on_change, backend.on_not_told = changed, not_told

    def serve(
        self, contexts: Sequence[ssl.SSLContext | None], connections: int, elsewhere: Store | None = None
    ) -> None:
        """Take over what a reload has brought: the entries' contexts in their order, None for one without TLS.

        ``connections``, ``elsewhere``: as of Backend.
        """
        self._most_connections = connections
        for entry, context in zip(self.entries, contexts, strict=True):
            entry.serve(context, connections, elsewhere)
        for backend in self._named.values():  # reached like the first entry's
            backend.serve(contexts[0], connections, elsewhere)

    def candidates(self) -> Iterator[Backend]:
        """The backends to try for one login, best first: those that are up, then the others.

        One that is marked down is still tried last: it may be back before the next probe. Ask for the next one only
        when the last one has failed: whether one has a place left is looked at then.
        """
        backends = self.backends
        if len(backends) > 1:
            backends.sort(key=lambda each: (not each.up, each.rank, _draw(each)))
        for backend in backends:
            if backend.connections < self._most_connections:
                yield backend

    def at(self, server: HostPort) -> Iterator[Backend]:
        """The one backend that an authentication server has named, which the config needn't know."""
        found = next((each for each in self.backends if each.where == server), None) or self._named.pop(server, None)
        backend = found or self.entries[0].named(server)
        if found is None or found not in self.backends:
            self._named[server] = backend
        if len(self._named) > _MOST_NAMED:
            self._named = {where: each for where, each in self._named.items() if each.connections or each is backend}
        if backend.connections < self._most_connections:
            yield backend

    @property
    def nobody(self) -> str:
        """Why there is no candidate, for the log."""
        if self.backends:
            return "every backend is at its connection limit"
        return "; ".join(entry.unknown for entry in self.entries)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What every backend that is up has said it can do, or all of them when none is; () before any has answered."""
        known = [each for each in self.backends if each.capabilities is not None]
        up = [each for each in known if each.up]
        return _common(tuple([each.capabilities or () for each in up or known]))


class _Untold:
    """A resolver's trace that nobody reads."""

    def dns_down(self) -> None: ...
    def dns_up(self) -> None: ...


@lru_cache(64)
def _common(known: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    if not known:
        return ()
    return tuple(word for word in known[0] if all(word in others for others in known[1:]))


def _draw(backend: Backend) -> float:
    # Exponential variates scaled by weight sort into a weighted random order (Efraimidis and Spirakis).
    return random.expovariate(backend.weight)
