"""What is counted of each backend, as plain numbers that become Prometheus samples when somebody asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tlsgate.ops.distribution import Distribution
from tlsgate.ops.merging import Dumped, absorb, dump

_LATENCY = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LABELS = ("pool", "backend")

Name = tuple[str, str]
"""A pool and a backend's address."""


class BackendMetrics:
    """What is counted of one backend."""

    def __init__(self) -> None:
        self.is_up = True
        self.connections = 0
        self.seconds = Distribution(_LATENCY)
        self.failures: dict[str, int] = defaultdict(int)

    def up(self, up: bool) -> None:
        """Whether it was last seen working."""
        self.is_up = up

    def connected(self) -> None:
        """One more connection is begun."""
        self.connections += 1

    def answered(self, seconds: float) -> None:
        """It has answered, ``seconds`` after the connection was begun."""
        self.seconds.observe(seconds)

    def disconnected(self) -> None:
        """One connection is closed."""
        self.connections -= 1

    def failed(self, reason: str) -> None:
        """An attempt failed."""
        self.failures[reason] += 1


class BackendsCollector(Collector):
    """Gives Prometheus what was counted of the backends in ``served``, and of those that sessions still hold.

    One that has gone keeps its numbers: they go on where they were if it comes back. Safe in another thread.
    """

    def __init__(self) -> None:
        self.served: frozenset[Name] = frozenset()
        self.backends: dict[Name, BackendMetrics] = {}
        self.elsewhere: Callable[[], Iterable[tuple[Name, Dumped]]] = tuple

    def backend(self, pool: str, address: str) -> BackendMetrics:
        """What is counted of this backend, and was before a reload."""
        return self.backends.setdefault((pool, address), BackendMetrics())

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("tlsgate_backend_up", "1: was last seen working.", labels=_LABELS)
        connections = GaugeMetricFamily("tlsgate_backend_connections", "Connections to a backend.", labels=_LABELS)
        seconds = HistogramMetricFamily(
            "tlsgate_backend_connect_seconds", "From connecting to the answer.", labels=_LABELS
        )
        failures = CounterMetricFamily("tlsgate_backend_failures", "Attempts that failed.", labels=(*_LABELS, "reason"))
        for name, counted in sorted(self._all().items()):
            if name not in self.served and not counted.connections:
                continue
            up.add_metric(name, counted.is_up)
            connections.add_metric(name, counted.connections)
            seconds.add_metric(name, counted.seconds.buckets(), counted.seconds.total)
            for reason, count in counted.failures.copy().items():
                failures.add_metric((*name, reason), count)
        return (up, connections, seconds, failures)

    def _all(self) -> dict[Name, BackendMetrics]:
        """With what other processes have counted; a backend is up if all see it so."""
        own = self.backends.copy()
        if not (others := list(self.elsewhere())):
            return own
        merged: dict[Name, BackendMetrics] = {}
        for name, dumped in [*((name, dump(counted)) for name, counted in own.items()), *others]:
            absorb(merged.setdefault(name, BackendMetrics()), dumped)
        return merged
