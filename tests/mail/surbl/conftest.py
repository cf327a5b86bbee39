"""The public suffix list, read once."""

from __future__ import annotations

import pytest

from tlsgate.mail.surbl.suffixes import Suffixes


@pytest.fixture(scope="session")
def suffixes() -> Suffixes:
    return Suffixes()
