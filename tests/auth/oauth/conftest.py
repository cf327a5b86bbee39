from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.auth.oauth.issuer import Issuer, issuing


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as it:
        yield it
