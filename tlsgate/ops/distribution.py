"""How often something took how long, as plain numbers."""

from __future__ import annotations

from bisect import bisect_left


class Distribution:
    """Seconds, by buckets with these upper bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def add(self, other: Distribution) -> None:
        """Count what ``other`` has counted, by the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus' cumulative buckets."""
        told, sofar = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            sofar += count
            told.append(("+Inf" if bound == float("inf") else str(bound), float(sofar)))
        return told
