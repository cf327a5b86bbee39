"""What one listener's sessions count, as plain numbers that become Prometheus samples when somebody asks.

A session counts about twenty things. A number of our own takes a twentieth of what a metric object takes.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tlsgate.ops.distribution import Distribution
from tlsgate.ops.merging import Dumped, absorb, dump

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DURATION = (1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 86400.0)


class Phase(enum.StrEnum):
    """Where a session is; the ``phase`` label of tlsgate_sessions."""

    HANDSHAKE = "handshake"
    LOGIN = "login"
    RELAY = "relay"
    MAIL = "mail"


class ListenerMetrics:
    """What one listener's sessions count."""

    def __init__(self) -> None:
        self.connections: dict[tuple[str, ...], int] = defaultdict(int)
        self.handshakes: dict[tuple[str, ...], int] = defaultdict(int)
        self.logins: dict[tuple[str, ...], int] = defaultdict(int)
        self.messages: dict[tuple[str, ...], int] = defaultdict(int)
        self.mail_refused: dict[tuple[str, ...], int] = defaultdict(int)
        self.phases = dict.fromkeys(Phase, 0)
        self.cleartext = self.delayed = self.up = self.down = 0
        self.handshake_seconds = Distribution(_LATENCY)
        self.login_seconds = Distribution(_LATENCY)
        self.session_seconds = Distribution(_DURATION)

    def connection(self, result: str) -> None:
        """A connection was taken or refused."""
        self.connections[(result,)] += 1

    def enter(self, phase: Phase) -> None:
        """A session is in ``phase``."""
        self.phases[phase] += 1

    def leave(self, phase: Phase) -> None:
        """A session has left ``phase``."""
        self.phases[phase] -= 1

    def handshake(self, version: str, cipher: str, result: str, seconds: float) -> None:
        """A handshake has ended; ``version`` and ``cipher`` are what OpenSSL calls them."""
        self.handshakes[version, cipher, result] += 1
        if result == "ok":
            self.handshake_seconds.observe(seconds)

    def login(self, mechanism: str, result: str, seconds: float | None) -> None:
        """A login was judged; ``seconds`` since the accept when it stands."""
        self.logins[mechanism, result] += 1
        if seconds is not None:
            self.login_seconds.observe(seconds)

    def cleartext_auth_refused(self) -> None:
        """A login was tried before TLS."""
        self.cleartext += 1

    def login_delayed(self) -> None:
        """A login was held back for what failed before it."""
        self.delayed += 1

    def message(self, result: str) -> None:
        """A message was judged."""
        self.messages[(result,)] += 1

    def refused_by(self, rule: str) -> None:
        """A rule for mail refused a command: "sender", "recipients", "messages"; of mx listeners "relay"."""
        self.mail_refused[(rule,)] += 1

    def relayed(self, up: int, down: int) -> None:
        """A session's octets, from the client and to it."""
        self.up += up
        self.down += down

    def session_ended(self, seconds: float) -> None:
        """A session is over."""
        self.session_seconds.observe(seconds)


class ListenersCollector(Collector):
    """Gives Prometheus what the listeners have counted. Safe in another thread than theirs."""

    def __init__(self) -> None:
        self.listeners: dict[str, ListenerMetrics] = {}
        self.elsewhere: Callable[[], Iterable[tuple[str, Dumped]]] = tuple

    def collect(self) -> Iterable[Metric]:
        listeners = sorted(self._all().items())
        yield from self._counters(listeners)
        sessions = GaugeMetricFamily(
            "tlsgate_sessions", "Sessions that live, by where they are.", labels=("listener", "phase")
        )
        for name, counted in listeners:
            for phase, value in counted.phases.items():
                sessions.add_metric((name, phase), value)
        yield sessions
        all_counted = [counted for _, counted in listeners]
        for metric, text, each in (
            ("handshake_seconds", "How long a handshake took.", [c.handshake_seconds for c in all_counted]),
            ("login_seconds", "From accept to a login that stands.", [c.login_seconds for c in all_counted]),
            ("session_seconds", "From accept to close.", [c.session_seconds for c in all_counted]),
        ):
            yield _histogram(f"tlsgate_{metric}", text, each)

    def phases(self) -> dict[str, dict[str, int]]:
        """How many sessions each listener has in each phase."""
        return {
            name: {phase.value: count for phase, count in counted.phases.items()}
            for name, counted in self._all().items()
        }

    def _all(self) -> dict[str, ListenerMetrics]:
        """With what other processes have counted."""
        own = self.listeners.copy()
        if not (others := list(self.elsewhere())):
            return own
        merged: dict[str, ListenerMetrics] = {}
        for name, dumped in [*((name, dump(counted)) for name, counted in own.items()), *others]:
            absorb(merged.setdefault(name, ListenerMetrics()), dumped)
        return merged

    def _counters(self, listeners: list[tuple[str, ListenerMetrics]]) -> Iterator[Metric]:
        for metric, text, labels in (
            ("connections", "Connections by what admission said.", ("result",)),
            ("handshakes", "TLS handshakes.", ("version", "cipher", "result")),
            ("logins", "Logins by mechanism and result.", ("mechanism", "result")),
            ("messages", "Messages by what became of them.", ("result",)),
            ("mail_refused", "Senders, recipients and messages that a client may not have.", ("rule",)),
        ):
            name = "tls_handshakes" if metric == "handshakes" else metric
            family = CounterMetricFamily(f"tlsgate_{name}", text, labels=("listener", *labels))
            for listener, counted in listeners:
                for values, count in list(getattr(counted, metric).items()):
                    family.add_metric((listener, *values), count)
            yield family
        cleartext = CounterMetricFamily(
            "tlsgate_cleartext_auth_refused", "Logins that were tried before TLS, and refused.", labels=("listener",)
        )
        delayed = CounterMetricFamily(
            "tlsgate_logins_delayed", "Logins that were held back for what failed before them.", labels=("listener",)
        )
        octets = CounterMetricFamily(
            "tlsgate_relayed_bytes",
            "Octets behind the login, counted at a session's end.",
            labels=("listener", "direction"),
        )
        for listener, counted in listeners:
            cleartext.add_metric((listener,), counted.cleartext)
            delayed.add_metric((listener,), counted.delayed)
            octets.add_metric((listener, "up"), counted.up)
            octets.add_metric((listener, "down"), counted.down)
        yield from (cleartext, delayed, octets)


def _histogram(name: str, text: str, parts: list[Distribution]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text)
    if parts:
        whole = Distribution(parts[0].bounds)
        for part in parts:
            whole.add(part)
        family.add_metric((), whole.buckets(), whole.total)
    return family
