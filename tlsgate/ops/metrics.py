"""Prometheus metrics (DESIGN 3.3). No label's values are a client's to choose.

Children are looked up once and kept: that takes a session's counting from microseconds to fractions of one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from OpenSSL import SSL
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tlsgate import __version__
from tlsgate.ops.log import EventLog
from tlsgate.tls.certificate import Certificate

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_DURATION = (1, 5, 30, 60, 300, 900, 1800, 3600, 4 * 3600, 24 * 3600)


class Phase(enum.StrEnum):
    """Where a session is; the ``phase`` label of tlsgate_sessions."""

    HANDSHAKE = "handshake"
    LOGIN = "login"
    RELAY = "relay"
    MAIL = "mail"


class Metrics:
    """Every metric of the process, in a registry of its own."""

    def __init__(self, log: EventLog) -> None:
        self.registry = registry = CollectorRegistry()
        of_listener, of_backend = ("listener",), ("pool", "backend")

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(f"tlsgate_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...]) -> Gauge:
            return Gauge(f"tlsgate_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(f"tlsgate_{name}", text, labels, registry=registry, buckets=buckets)

        self.connections = counter("connections", "Connections by what admission said.", (*of_listener, "result"))
        self.sessions = gauge("sessions", "Sessions that live, by where they are.", (*of_listener, "phase"))
        self.handshakes = counter("tls_handshakes", "TLS handshakes.", (*of_listener, "version", "cipher", "result"))
        self.handshake_seconds = histogram("handshake_seconds", "How long a handshake took.", _LATENCY)
        self.logins = counter("logins", "Logins by mechanism and result.", (*of_listener, "mechanism", "result"))
        self.login_seconds = histogram("login_seconds", "From accept to a login that stands.", _LATENCY)
        self.cleartext_auth_refused = counter(
            "cleartext_auth_refused", "Logins that were tried before TLS, and refused.", of_listener
        )
        self.relayed_bytes = counter(
            "relayed_bytes", "Octets behind the login, counted at a session's end.", (*of_listener, "direction")
        )
        self.session_seconds = histogram("session_seconds", "From accept to close.", _DURATION)
        self.messages = counter("messages", "Messages by what became of them.", (*of_listener, "result"))
        self.backend_up = gauge("backend_up", "1: was last seen working.", of_backend)
        self.backend_connections = gauge("backend_connections", "Connections to a backend.", of_backend)
        self.backend_connect_seconds = histogram(
            "backend_connect_seconds", "From connecting to the answer.", _LATENCY, of_backend
        )
        self.backend_failures = counter("backend_failures", "Attempts that failed.", (*of_backend, "reason"))
        self.certificate_expiry = gauge(
            "certificate_expiry_timestamp_seconds", "When a certificate ends.", ("certificate",)
        )
        self.config_reload = counter("config_reload", "Reloads of the config.", ("result",))
        openssl = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
        gauge("build_info", "Always 1.", ("version", "openssl")).labels(__version__, openssl).set(1)
        registry.register(_LogLines(log))
        ProcessCollector(registry=registry)

    def certificates(self, served: Iterable[Certificate]) -> None:
        """Which certificates are served now; those of before are forgotten."""
        self.certificate_expiry.clear()
        for certificate in served:
            self.certificate_expiry.labels(str(certificate.path)).set(certificate.expires.timestamp())


class ListenerMetrics:
    """What one listener's sessions count."""

    def __init__(self, metrics: Metrics, listener: str) -> None:
        self._metrics = metrics
        self._listener = listener
        self._results: dict[tuple[str, ...], Counter] = {}
        self._phases = {phase: metrics.sessions.labels(listener, phase) for phase in Phase}
        self._cleartext = metrics.cleartext_auth_refused.labels(listener)
        self._up = metrics.relayed_bytes.labels(listener, "up")
        self._down = metrics.relayed_bytes.labels(listener, "down")

    def _count(self, counter: Counter, *labels: str) -> None:
        key = (counter._name, *labels)
        child = self._results.get(key)
        if child is None:
            child = self._results[key] = counter.labels(self._listener, *labels)
        child.inc()

    def connection(self, result: str) -> None:
        """A connection was taken or refused."""
        self._count(self._metrics.connections, result)

    def enter(self, phase: Phase) -> None:
        """A session is in ``phase``."""
        self._phases[phase].inc()

    def leave(self, phase: Phase) -> None:
        """A session has left ``phase``."""
        self._phases[phase].dec()

    def handshake(self, version: str, cipher: str, result: str, seconds: float) -> None:
        """A handshake has ended; ``version`` and ``cipher`` are what OpenSSL calls them."""
        self._count(self._metrics.handshakes, version, cipher, result)
        if result == "ok":
            self._metrics.handshake_seconds.observe(seconds)

    def login(self, mechanism: str, result: str, seconds: float | None) -> None:
        """A login was judged; ``seconds`` since the accept when it stands."""
        self._count(self._metrics.logins, mechanism, result)
        if seconds is not None:
            self._metrics.login_seconds.observe(seconds)

    def cleartext_auth_refused(self) -> None:
        """A login was tried before TLS."""
        self._cleartext.inc()

    def message(self, result: str) -> None:
        """A message was judged."""
        self._count(self._metrics.messages, result)

    def relayed(self, up: int, down: int) -> None:
        """A session's octets, from the client and to it."""
        self._up.inc(up)
        self._down.inc(down)

    def session_ended(self, seconds: float) -> None:
        """A session is over."""
        self._metrics.session_seconds.observe(seconds)


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
