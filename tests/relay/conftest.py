"""A running pump for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.relay.peers import Relay


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    relay = Relay(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.pump.run)
        yield relay
        nursery.cancel_scope.cancel()
    relay.close()
