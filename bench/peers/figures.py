"""What is measured, in what unit, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Values = Mapping[str, float]  # by the key of a figure


@dataclass(frozen=True, slots=True)
class Figure:
    """``more_is_better``: else a figure is a cost. ``ratio`` is that of costs always: over 1 is worse."""

    key: str
    title: str
    unit: str
    more_is_better: bool = False

    def ratio(self, value: float, reference: float) -> float | None:
        """How much dearer ``value`` is than ``reference``; None where one of them is too small to be told."""
        if value <= 0 or reference <= 0:
            return None
        return reference / value if self.more_is_better else value / reference


def _logins() -> list[Figure]:
    figures = []
    for protocol in ("IMAP", "POP3", "SMTP"):
        key = protocol.lower()
        figures.append(Figure(f"{key}_us", f"CPU a login, {protocol}", "µs"))
        figures.append(Figure(f"{key}_resumed_us", f"CPU a login, {protocol}, TLS resumed", "µs"))
    return figures


FIGURES: tuple[Figure, ...] = (
    *_logins(),
    Figure("login_p50_ms", "Login, one client, median", "ms"),
    Figure("login_p99_ms", "Login, one client, 99th percentile", "ms"),
    Figure("down_s_gb", "CPU a GB down", "s"),
    Figure("up_s_gb", "CPU a GB up", "s"),
    Figure("messages_cpu_s", "Messages a CPU second", "", more_is_better=True),
    Figure("idle_1000_kib", "Memory an idle session, of 1,000", "KiB"),
    Figure("idle_5000_kib", "Memory an idle session, of 5,000", "KiB"),
    Figure("idle_20000_kib", "Memory an idle session, of 20,000", "KiB"),
    Figure("added_us", "Added round trip, median", "µs"),
    Figure("noops_percent", "CPU of 1,000 sessions, a NOOP a second each", "%"),
    Figure("refused_cpu_s", "Refused connections a CPU second", "", more_is_better=True),
    Figure("start_ms", "Start to the first handshake", "ms"),
    Figure("base_kib", "Memory without sessions", "KiB"),
    Figure("worker_kib", "Memory of one worker more, without sessions", "KiB"),
)


def medians(rounds: Sequence[Values]) -> Values:
    """Of each figure, over the rounds that have it."""
    keys = {key for each in rounds for key in each}
    return {key: median(each[key] for each in rounds if key in each) for key in keys}
