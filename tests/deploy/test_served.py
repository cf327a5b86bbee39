"""The check of the checks: names that are wrong are found."""

from __future__ import annotations

import pytest

from tests.deploy.served import metrics, strangers


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ('sum by (job, listener) (rate(tlsgate_logins_total{result="ok"}[5m]))', []),
        ("histogram_quantile(0.9, sum by (le) (rate(tlsgate_login_seconds_bucket[5m])))", []),
        ('tlsgate_logins{result="ok"}', ["tlsgate_logins", "tlsgate_logins{result}"]),
        ('tlsgate_logins_total{user="ann"}', ["tlsgate_logins_total{user}"]),
        ("sum by (pool) (tlsgate_sessions)", ["pool"]),
        ("process_open_files", ["process_open_files"]),
    ],
)
def test_names_that_nobody_serves_are_found(expression: str, wrong: list[str]) -> None:
    """Else a panel that is empty for ever would pass."""
    assert strangers(expression, metrics()) == wrong
