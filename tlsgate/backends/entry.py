"""One entry of a pool's ``backends``: a server, or a name in the DNS and the servers that it stands for at the time."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from tlsgate import config
from tlsgate.backends.backend import Backend, BackendTrace
from tlsgate.backends.records import Server, look_up
from tlsgate.backends.resolve import Names
from tlsgate.backends.stream import client_context
from tlsgate.config import BackendTls, HostPort, ManyServers, MxName, SrvName
from tlsgate.dns import Failure
from tlsgate.state.store import Store

_LEAST, _MOST = 1.0, 300.0  # seconds from one look-up to the next, whatever the TTL
_MOST_AFTER_FAILURE = 30.0


class Entry:
    """``backends``: the servers at the time. ``unknown``: why there is none, or why they may be old; "" else.

    ``many``: the name of which they are; None for a single server. ``on_servers``: is called when they have changed,
    or why they are unknown.
    """

    def __init__(
        self,
        settings: config.Backend,
        pool: str,
        pool_settings: config.Pool,
        trace: BackendTrace,
        context: ssl.SSLContext | None,
        names: Names,
    ) -> None:
        """``context``: for their TLS; without one it is made here, which reads files."""
        self.settings = settings
        self.many: ManyServers | None = settings.address if isinstance(settings.address, SrvName | MxName) else None
        self.unknown = "" if self.many is None else f"{self.many} wasn't looked up yet"
        self.on_servers: Callable[[Entry], None] | None = None
        self.on_change: Callable[[Backend, str], None] | None = None
        self.on_not_told: Callable[[Backend, int, str], None] | None = None
        self._pool, self._pool_settings = pool, pool_settings
        self._trace, self._names = trace, names
        if context is None and settings.tls is not BackendTls.NONE:
            context = client_context(settings)
        self._context = context
        self._served: tuple[int, Store | None] | None = None
        self._failures = 0
        self._gone: list[Backend] = []
        self.backends: Sequence[Backend] = () if self.many else (self._backend(settings, trace),)

    def serve(self, context: ssl.SSLContext | None, connections: int, elsewhere: Store | None) -> None:
        """Take over what a reload has brought, as ``Backend.serve`` does."""
        self._context, self._served = context, (connections, elsewhere)
        for backend in (*self.backends, *self._gone):
            backend.serve(context, connections, elsewhere)
        self.tell()

    def tell(self) -> None:
        """Tell how they are as a whole: up is a name whose servers are all up."""
        if self.many is not None:
            self._trace.up(bool(self.backends) and all(each.told_up for each in self.backends))

    async def look_up(self, hostname: str) -> float:
        """Ask the DNS for the servers; gives the seconds after which to ask again. What fails changes nothing.

        ``hostname``: ours. Only for a name of many.
        """
        if self.many is None:
            raise LookupError("a single server has no records")
        resolver = self._names.resolver
        found, left = (Failure.UNREACHABLE, 0.0) if resolver is None else await look_up(self.many, resolver, hostname)
        if isinstance(found, Failure):
            self._failures += 1
            self._note(self.backends, f"{self.many} isn't known ({found})")
            return min(2.0 ** min(self._failures - 1, 10), _MOST_AFTER_FAILURE)
        self._failures = 0
        self._note(self._followed(found), "" if found else f"{self.many} stands for no server")
        return min(max(left, _LEAST), _MOST)

    def _followed(self, servers: Sequence[Server]) -> list[Backend]:
        """The backends for these servers: those that stay, or come back to their sessions, and new ones."""
        known = {each.where: each for each in (*self.backends, *self._gone)}
        followed = []
        for server in servers:
            backend = known.pop(server.address, None) or self._server(server)
            backend.rank, backend.full_weight = (self.settings.priority, server.priority), server.weight
            followed.append(backend)
        self._gone = [each for each in known.values() if each.connections]
        return followed

    def _note(self, backends: Sequence[Backend], unknown: str) -> None:
        changed = unknown != self.unknown or {*backends} != {*self.backends}
        self.backends, self.unknown = backends, unknown
        if changed:
            self.tell()
            if self.on_servers is not None:
                self.on_servers(self)

    def named(self, server: HostPort) -> Backend:
        """A server that isn't of the config: reached like those of this entry, and counted with them."""
        backend = self._backend(replace(self.settings, address=server), _Part(self, self._trace))
        if self._served is not None:
            backend.serve(self._context, *self._served)
        return backend

    def _server(self, server: Server) -> Backend:
        # Whoever answers the DNS chooses the servers' names: a certificate for one of them says nothing (RFC 6125 1.6).
        name = self.settings.server_name or (self.many.domain if self.many is not None else "")
        settings = replace(self.settings, address=server.address, server_name=name)
        backend = self._backend(settings, _Part(self, self._trace))
        backend.on_change, backend.on_not_told = self.on_change, self.on_not_told
        if self._served is not None:
            backend.serve(self._context, *self._served)
        return backend

    def _backend(self, settings: config.Backend, trace: BackendTrace) -> Backend:
        whole = self._pool_settings
        return Backend(
            self._pool,
            settings,
            trace,
            self._context,
            whole.client_address,
            names=self._names,
            slow_start=whole.slow_start,
        )


class _Part:
    """The trace of one server of many. They are counted as one: their names come and go, as the DNS likes it."""

    def __init__(self, entry: Entry, whole: BackendTrace) -> None:
        self._entry = entry
        self._whole = whole

    def up(self, up: bool) -> None:
        self._entry.tell()

    def connected(self) -> None:
        self._whole.connected()

    def answered(self, seconds: float) -> None:
        self._whole.answered(seconds)

    def disconnected(self) -> None:
        self._whole.disconnected()

    def failed(self, reason: str) -> None:
        self._whole.failed(reason)
