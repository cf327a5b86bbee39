"""Every attack of the table is shown by tests that there are, and every script of this folder is in the table."""

from __future__ import annotations

import re

import pytest

from tests.adversarial import cases
from tlsgate.config import Protocol, TlsMode


def test_no_row_is_missing() -> None:
    """An attack that nobody looks after any more must not go unnoticed."""
    assert list(cases.table()) == cases.ROWS


@pytest.mark.parametrize("name", cases.ROWS)
def test_a_row_is_shown(name: str) -> None:
    """A test that was renamed or deleted leaves its attack unshown."""
    row = cases.table()[name]
    assert row.attack
    assert row.answer
    assert row.tests
    missing = [test for test in row.tests if not cases.found(test)]
    assert not missing, missing


def test_every_script_is_in_its_row() -> None:
    """Else nobody would find it there; and its name would lie about what it shows."""
    shown = {name: {test for each in row.tests for test in cases.found(each)} for name, row in cases.table().items()}
    lost = [test for test, case in cases.scripts() if test not in shown.get(case.row, set())]
    assert not lost, lost


def test_functions_named_by_a_row_are_in_it() -> None:
    for file in sorted(cases.HERE.glob("test_*.py")):
        for function in cases.functions(f"tests/adversarial/{file.name}"):
            if (named := re.match(r"test_([A-E]\d+)_", function)) is not None:
                assert f"tests/adversarial/{file.name}::{function}" in cases.table()[named[1]].tests


def test_every_protocol_is_attacked_in_every_mode() -> None:
    """Also says how many cases there are (``pytest -rP``)."""
    print(cases.summary())
    attacked = {(case.protocol, name.rpartition("-")[2].rstrip("]")) for name, case in cases.scripts()}
    assert attacked == {(protocol, mode.value) for protocol in Protocol for mode in TlsMode} - {
        (Protocol.MX, TlsMode.IMPLICIT.value)  # there is no such listener
    }
    assert len({case.name for _, case in cases.scripts()}) >= 120
