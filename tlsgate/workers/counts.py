"""What the workers have counted, gathered in the parent: the last dump of each, and the sum of those that ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tlsgate.ops.backend_metrics import BackendMetrics, Name
from tlsgate.ops.client_report import Noted
from tlsgate.ops.listener_metrics import ListenerMetrics
from tlsgate.ops.merging import Dumped, absorb, dump, without_levels
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.screening_metrics import ScreeningMetrics


class _Dump(msgspec.Struct, frozen=True):
    """By listener, by pool and address of a backend, and of screening as a whole. ``clients``: news of old ones."""

    listeners: dict[str, dict[str, Any]]
    backends: list[tuple[Name, dict[str, Any]]]
    screening: dict[str, Any]
    clients: list[Noted] = []


def dump_metrics(metrics: Metrics) -> bytes:
    """What a worker has counted so far, and some of the old clients that it has seen since it was last asked."""
    listeners = {name: dump(counted) for name, counted in metrics.listeners.listeners.items()}
    backends = [(name, dump(counted)) for name, counted in metrics.backends.backends.items()]
    return msgspec.msgpack.encode(_Dump(listeners, backends, dump(metrics.screening.here), metrics.clients.take()))


class Counts:
    """Feeds the parent's metrics with the workers'."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last: dict[object, _Dump] = {}
        metrics.listeners.elsewhere = self._listeners
        metrics.backends.elsewhere = self._backends
        metrics.screening.elsewhere = self._screening

    def note(self, worker: object, dumped: bytes) -> None:
        """A worker says what it has counted, of listeners and backends that we know. Raises ValueError on nonsense."""
        told = msgspec.msgpack.decode(dumped, type=_Dump)
        try:  # what doesn't add up must not break a scrape later
            for each in told.listeners.values():
                absorb(ListenerMetrics(), each)
            for _, each in told.backends:
                absorb(BackendMetrics(), each)
            absorb(ScreeningMetrics(), told.screening)
        except (TypeError, ValueError, LookupError) as error:
            raise ValueError("not a dump of metrics") from error
        for client in told.clients:
            if client.listener in self._metrics.listeners.listeners:
                self._metrics.clients.add(client)
        self._last[worker] = _Dump(
            {name: each for name, each in told.listeners.items() if name in self._metrics.listeners.listeners},
            [(name, each) for name, each in told.backends if name in self._metrics.backends.backends],
            told.screening,
        )

    def ended(self, worker: object) -> None:
        """A worker has ended: what it has counted stays, how things were there is over."""
        if (told := self._last.pop(worker, None)) is None:
            return
        for name, each in told.listeners.items():
            absorb(self._metrics.listener(name), without_levels(each, ("phases",)))
        for (pool, address), each in told.backends:
            absorb(self._metrics.backends.backend(pool, address), without_levels(each, ("is_up", "connections")))
        absorb(self._metrics.screening.here, told.screening)

    def _screening(self) -> Iterator[Dumped]:
        return (told.screening for told in list(self._last.values()))

    def _listeners(self) -> Iterator[tuple[str, Dumped]]:
        for told in list(self._last.values()):
            yield from told.listeners.items()

    def _backends(self) -> Iterator[tuple[Name, Dumped]]:
        for told in list(self._last.values()):
            yield from told.backends
