"""Every metric that there is, as Prometheus sees them, and what an expression asks for."""

from __future__ import annotations

import io
import re
from collections import defaultdict

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics

_SCRAPED = {"job", "instance", "le"}
_SELECTOR = re.compile(r"\b((?:tlsgate|process)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!=|!~|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def metrics() -> dict[str, set[str]]:
    """The names of the samples, with their labels."""
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    served = Metrics(log)
    served.shared_state(lambda: 1, lambda: 0)
    served.config_reload.labels("ok").inc()
    served.certificate_expiry.labels("/a.pem").set(1)
    listener = served.listener("imaps")
    listener.connection("accepted")
    listener.enter(Phase.LOGIN)
    listener.handshake("TLSv1.3", "AES", "ok", 0.1)
    listener.login("PLAIN", "ok", 0.1)
    listener.message("accepted")
    listener.refused_by("sender")
    listener.session_ended(1)
    served.backends.backend("imap", "192.0.2.1:143").failed("tls")
    served.backends.served = frozenset({("imap", "192.0.2.1:143")})
    served.screening.here.screened("spf", "pass")
    found: dict[str, set[str]] = defaultdict(set)
    for family in served.registry.collect():
        for sample in family.samples:
            found[sample.name] |= sample.labels.keys()
    log.close()
    return found


def strangers(expression: str, known: dict[str, set[str]]) -> list[str]:
    """Metrics that an expression asks for and nobody counts, and labels that its metrics don't have."""
    wrong: list[str] = []
    labels = set(_SCRAPED)
    bare = _GROUPING.sub("", expression)
    names = _SELECTOR.findall(bare)
    for name, matchers in names:
        if name not in known:
            wrong.append(name)
        labels |= known.get(name, set())
        wrong += [
            f"{name}{{{label}}}"
            for label in _MATCHER.findall(matchers)
            if label not in known.get(name, set()) | _SCRAPED
        ]
    for group in _GROUPING.findall(expression):
        wrong += [label for label in re.findall(r"\w+", group) if label not in labels]
    if not names and "up{" not in expression:
        wrong.append(f"no metric of ours in {expression}")
    return wrong
