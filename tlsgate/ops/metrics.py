"""Prometheus metrics (DESIGN 3.3). No label's values are a client's to choose."""

from __future__ import annotations

from collections.abc import Iterable

from OpenSSL import SSL
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tlsgate import __version__
from tlsgate.ops.listener_metrics import ListenerMetrics, ListenersCollector
from tlsgate.ops.log import EventLog
from tlsgate.tls.certificate import Certificate

_LATENCY = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OF_BACKEND = ("pool", "backend")


class Metrics:
    """Every metric of the process, in a registry of its own."""

    def __init__(self, log: EventLog) -> None:
        self.registry = registry = CollectorRegistry()
        self._listeners = ListenersCollector()
        registry.register(self._listeners)
        self.backend_up = Gauge("tlsgate_backend_up", "1: was last seen working.", _OF_BACKEND, registry=registry)
        self.backend_connections = Gauge(
            "tlsgate_backend_connections", "Connections to a backend.", _OF_BACKEND, registry=registry
        )
        self.backend_connect_seconds = Histogram(
            "tlsgate_backend_connect_seconds",
            "From connecting to the answer.",
            _OF_BACKEND,
            registry=registry,
            buckets=_LATENCY,
        )
        self.backend_failures = Counter(
            "tlsgate_backend_failures", "Attempts that failed.", (*_OF_BACKEND, "reason"), registry=registry
        )
        self.certificate_expiry = Gauge(
            "tlsgate_certificate_expiry_timestamp_seconds",
            "When a certificate ends.",
            ("certificate",),
            registry=registry,
        )
        self.config_reload = Counter("tlsgate_config_reload", "Reloads of the config.", ("result",), registry=registry)
        build = Gauge("tlsgate_build_info", "Always 1.", ("version", "openssl"), registry=registry)
        build.labels(__version__, SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()).set(1)
        registry.register(_LogLines(log))
        ProcessCollector(registry=registry)

    def listener(self, name: str) -> ListenerMetrics:
        """What a listener of this name counts, and has counted before a reload."""
        return self._listeners.listeners.setdefault(name, ListenerMetrics())

    def certificates(self, served: Iterable[Certificate]) -> None:
        """Which certificates are served now; those of before are forgotten."""
        self.certificate_expiry.clear()
        for certificate in served:
            self.certificate_expiry.labels(str(certificate.path)).set(certificate.expires.timestamp())


class BackendMetrics:
    """What is counted of one backend."""

    def __init__(self, metrics: Metrics, pool: str, backend: str) -> None:
        self._up = metrics.backend_up.labels(pool, backend)
        self._connections = metrics.backend_connections.labels(pool, backend)
        self._seconds = metrics.backend_connect_seconds.labels(pool, backend)
        self._failures = metrics.backend_failures
        self._labels = (pool, backend)

    def up(self, up: bool) -> None:
        """Whether it was last seen working."""
        self._up.set(up)

    def connected(self) -> None:
        """One more connection is begun."""
        self._connections.inc()

    def answered(self, seconds: float) -> None:
        """It has answered, ``seconds`` after the connection was begun."""
        self._seconds.observe(seconds)

    def disconnected(self) -> None:
        """One connection is closed."""
        self._connections.dec()

    def failed(self, reason: str) -> None:
        """An attempt failed."""
        self._failures.labels(*self._labels, reason).inc()


class _LogLines(Collector):
    """Log lines that were lost because nobody read them."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(
            "tlsgate_log_lines_dropped", "Log lines that were lost because nobody read them.", value=self._log.dropped
        )
