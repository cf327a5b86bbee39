"""The gateway's own HTTP client before a real server: what it brings, and that each way to fail is told as one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.auth.oauth.issuer import AUDIENCE, EXPECTED, NOW, Issuer, now, private_key, public, signed
from tlsgate.auth.oauth.check import TokenCheck
from tlsgate.auth.oauth.client import Client as Name
from tlsgate.auth.oauth.exchange import LARGEST_ANSWER, PATIENCE, FetchFailed
from tlsgate.auth.oauth.introspection import Introspection
from tlsgate.auth.oauth.jwt import JwtCheck
from tlsgate.auth.oauth.key_cache import KeyCache
from tlsgate.auth.oauth.over_http import OverHttp
from tlsgate.auth.oauth.verdict import Valid
from tlsgate.http.client import Client

KEY = private_key("RS256")


@pytest.fixture
async def http(mock_clock: trio.testing.MockClock) -> AsyncIterator[OverHttp]:
    client = Client()
    yield OverHttp(client)
    client.close()


async def test_both_ways(issuer: Issuer, http: OverHttp) -> None:
    issuer.publish(public(KEY, "one"))
    issuer.answers["opaque"] = {"active": True, "aud": AUDIENCE, "email": "bob", "exp": NOW + 9}
    asking = Introspection(issuer.introspection_url, Name("gate", "secret"), http.post, EXPECTED, now)
    check = TokenCheck(JwtCheck(KeyCache(issuer.jwks_url, http.fetch), EXPECTED, now), asking)
    assert await check.judge(signed(KEY).text.encode()) == Valid("ann@example.org", NOW + 3600)
    assert await check.judge(b"opaque") == Valid("bob", NOW + 9)


@pytest.mark.parametrize("status", [204, 302, 401, 404, 500])
async def test_another_status(issuer: Issuer, http: OverHttp, status: int) -> None:
    """No redirect is followed: the URL that the administrator wrote is the one that is trusted."""
    issuer.status = status
    with pytest.raises(FetchFailed, match=f"status {status}"):
        await http.fetch(issuer.jwks_url)


async def test_an_answer_that_is_too_large(issuer: Issuer, http: OverHttp) -> None:
    issuer.content = b" " * (LARGEST_ANSWER + 1)
    with pytest.raises(FetchFailed):
        await http.fetch(issuer.jwks_url)


async def test_nobody_there(http: OverHttp) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(FetchFailed):
        await http.fetch(f"http://127.0.0.1:{port}/jwks")


async def test_no_answer_in_time(issuer: Issuer, http: OverHttp, mock_clock: trio.testing.MockClock) -> None:
    issuer.held = trio.Event()

    async def ask() -> None:
        with pytest.raises(FetchFailed, match="no answer in time"):
            await http.fetch(issuer.jwks_url)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await issuer.arrived.wait()
        mock_clock.jump(PATIENCE)
