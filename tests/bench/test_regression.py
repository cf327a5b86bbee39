"""What clients' work costs beside the least that would do. If this fails, a login or the relay has become dearer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers.subject import Ports
from bench.regression import WORKS, Place, dearer, said
from tests.system.peers import free_port


@pytest.fixture
def place(built: Path, tmp_path: Path) -> Place:
    return Place(built, tmp_path, Ports(*(free_port() for _ in range(8))), free_port())


def test_logins_and_the_relay_are_no_dearer_than_they_were(place: Place) -> None:
    over = dearer(place)
    assert not over, f"dearer than their bounds, at two tries:\n{said(over)}"


def test_what_is_dearer_than_its_bound_is_told(place: Place) -> None:
    """A check that never trips would pass for ever."""
    works = [replace(work, bound=0.1) for work in WORKS]
    assert list(dearer(place, slices=1, works=works)) == works
