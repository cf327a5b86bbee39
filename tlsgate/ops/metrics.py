"""Prometheus metrics (DESIGN 3.3). No label's values are a client's to choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tlsgate import __version__
from tlsgate.ops.backend_metrics import BackendsCollector
from tlsgate.ops.client_report import ClientReport
from tlsgate.ops.listener_metrics import ListenerMetrics, ListenersCollector
from tlsgate.ops.log import EventLog
from tlsgate.ops.screening_metrics import ScreeningCollector
from tlsgate.tls import library
from tlsgate.tls.certificate import Certificate


class Metrics:
    """Every metric of the process, in a registry of its own. ``clients``: what has users' names, so is no metric."""

    def __init__(self, log: EventLog) -> None:
        self.registry = registry = CollectorRegistry()
        self.clients = ClientReport()
        self.listeners = ListenersCollector()
        registry.register(self.listeners)
        self.backends = BackendsCollector()
        registry.register(self.backends)
        self.screening = ScreeningCollector()
        registry.register(self.screening)
        self.certificate_expiry = Gauge(
            "tlsgate_certificate_expiry_timestamp_seconds",
            "When a certificate ends.",
            ("certificate",),
            registry=registry,
        )
        self.config_reload = Counter("tlsgate_config_reload", "Reloads of the config.", ("result",), registry=registry)
        self.bans = Gauge("tlsgate_bans", "Networks that are banned.", registry=registry)
        build = Gauge("tlsgate_build_info", "Always 1.", ("version", "openssl"), registry=registry)
        build.labels(__version__, library.VERSION).set(1)
        registry.register(_LogLines(log))
        ProcessCollector(registry=registry)

    def listener(self, name: str) -> ListenerMetrics:
        """What a listener of this name counts, and has counted before a reload."""
        return self.listeners.listeners.setdefault(name, ListenerMetrics())

    def shared_state(self, is_up: Callable[[], float], failures: Callable[[], float]) -> None:
        """There is a state that replicas share: whether it can be reached, and how often it has failed."""
        Gauge("tlsgate_state_up", "1: the shared state is used.", registry=self.registry).set_function(is_up)
        self.registry.register(_Failures(failures))

    def certificates(self, served: Iterable[Certificate]) -> None:
        """Which certificates are served now; those of before are forgotten."""
        self.certificate_expiry.clear()
        for certificate in served:
            self.certificate_expiry.labels(str(certificate.path)).set(certificate.expires.timestamp())


class _LogLines(Collector):
    """Log lines that were lost because nobody read them."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(
            "tlsgate_log_lines_dropped", "Log lines that were lost because nobody read them.", value=self._log.dropped
        )


class _Failures(Collector):
    """How often the shared state has failed."""

    def __init__(self, failures: Callable[[], float]) -> None:
        self._failures = failures

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(
            "tlsgate_state_failures", "How often the shared state has failed.", value=self._failures()
        )
