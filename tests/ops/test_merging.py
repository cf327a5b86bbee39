"""Numbers of several processes, added up."""

from __future__ import annotations

import msgspec
import pytest

from tlsgate.ops.backend_metrics import BackendMetrics
from tlsgate.ops.listener_metrics import ListenerMetrics, Phase
from tlsgate.ops.merging import absorb, dump, without_levels


def _counted() -> ListenerMetrics:
    counted = ListenerMetrics()
    counted.connection("accepted")
    counted.connection("accepted")
    counted.handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ok", 0.002)
    counted.login("PLAIN", "ok", 0.01)
    counted.enter(Phase.RELAY)
    counted.refused_by("messages")
    counted.relayed(3, 4)
    counted.session_ended(2.0)
    return counted


def test_what_two_have_counted_is_twice_what_one_has() -> None:
    """A scrape that left a worker out would show logins vanishing."""
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(dump(_counted())))
    merged = ListenerMetrics()
    for _ in range(2):
        absorb(merged, sent)
    assert merged.connections == {("accepted",): 4}
    assert merged.handshakes == {("TLSv1.3", "TLS_AES_128_GCM_SHA256", "ok"): 2}
    assert merged.phases[Phase.RELAY] == 2
    assert merged.mail_refused == {("messages",): 2}
    assert (merged.up, merged.down) == (6, 8)
    assert sum(merged.session_seconds.counts) == 2
    assert merged.session_seconds.total == 4.0


def test_the_levels_of_a_process_that_ended_are_over() -> None:
    merged = ListenerMetrics()
    absorb(merged, without_levels(dump(_counted()), ("phases",)))
    assert merged.phases[Phase.RELAY] == 0
    assert merged.up == 3


def test_a_backend_is_up_if_all_see_it_so() -> None:
    merged, sees, fails = BackendMetrics(), BackendMetrics(), BackendMetrics()
    fails.up(False)
    fails.failed("timeout")
    for each in (sees, fails):
        each.connected()
        absorb(merged, dump(each))
    assert not merged.is_up
    assert merged.connections == 2
    assert merged.failures == {"timeout": 1}


@pytest.mark.parametrize(
    "nonsense", [{"up": "many"}, {"up": None}, {"phases": [["lunch", 1]]}, {"connections": 7}, {"login_seconds": [1]}]
)
def test_nonsense_is_refused(nonsense: dict[str, object]) -> None:
    """A worker talks to strangers: what it says must not break a scrape."""
    with pytest.raises((TypeError, ValueError)):
        absorb(ListenerMetrics(), nonsense)
