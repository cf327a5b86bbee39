"""Logins by source are measured as they are named: by that mechanism, judged by that source, none of them refused.

If this fails, figures are of work that nobody did.
"""

from __future__ import annotations

import pytest

from bench.logins.asked import asked
from bench.logins.cases import CASES, Case
from bench.logins_by_source import measure
from bench.mail.gate import Ports
from tests.system.peers import free_port

SOME = [
    each
    for each in CASES
    if each.mechanism in ("SCRAM-SHA-256-PLUS", "XOAUTH2")
    and not any(word in each.source for word in ("RS256", "the same"))
]


@pytest.mark.parametrize("case", SOME, ids=lambda case: f"{case.source}, {case.mechanism}")
def test_a_case_is_measured(case: Case) -> None:
    """A login that fails, or a question more or less than its source asks, ends it."""
    ports = Ports(gate=free_port(), admin=free_port(), backend=free_port())
    with asked() as who:
        (taken,) = measure(case, who, ports, logins=16, at_once=4)
    assert 0 < taken < 1
