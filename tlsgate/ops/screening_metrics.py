"""What the checks of clients have found, counted: tlsgate_screening_total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from tlsgate.ops.merging import Dumped, absorb, dump


class ScreeningMetrics:
    """How often each check had each result."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, ...], int] = defaultdict(int)

    def screened(self, check: str, result: str) -> None:
        """A check has a result."""
        self.results[check, result] += 1


class ScreeningCollector(Collector):
    """Gives Prometheus what was counted here and ``elsewhere``. Safe in another thread than theirs."""

    def __init__(self) -> None:
        self.here = ScreeningMetrics()
        self.elsewhere: Callable[[], Iterable[Dumped]] = tuple

    def collect(self) -> Iterable[CounterMetricFamily]:
        whole = ScreeningMetrics()
        for dumped in (dump(self.here), *self.elsewhere()):
            absorb(whole, dumped)
        family = CounterMetricFamily(
            "tlsgate_screening", "Checks of clients by what they have found.", labels=("check", "result")
        )
        for labels, count in whole.results.items():
            family.add_metric(labels, count)
        yield family
