"""What tests of backends share."""

from __future__ import annotations

from collections import OrderedDict

import pytest

from tlsgate.backends import resolve


@pytest.fixture(autouse=True)
def no_known_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a resolver of its own."""
    monkeypatch.setattr(resolve.SYSTEM, "_known", OrderedDict())
