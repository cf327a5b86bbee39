"""Backends that can't tell a stranger's mail from ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import completed, written
from tlsgate.config import load
from tlsgate.doctor.trust import unvouched

_MX = """
[[listeners]]
name = "mx"
protocol = "{protocol}"
address = "[::]:25"
tls = "starttls"
pool = "smtp"
[pools.smtp]
backends = [{{ address = "10.0.0.6:25" }}]
client_address = "{told}"
[relay]
domains = ["ours.test"]
"""


@pytest.mark.parametrize(
    ("protocol", "told", "count"),
    [("mx", "none", 1), ("mx", "xclient", 0), ("mx", "proxy-v2", 0), ("submission", "none", 0)],
)
def test_mx_backend_that_sees_us_only(tmp_path: Path, protocol: str, told: str, count: int) -> None:
    """Silence here would leave an open relay to be found by spammers; a remark on submission would be noise."""
    settings = load(written(tmp_path, completed(_MX.format(protocol=protocol, told=told))))
    assert len(list(unvouched(settings))) == count
