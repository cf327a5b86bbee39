"""The source "auth-http" before a server on loopback: asked once, asked again, and without an answer."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
import trio

from tests.gate import client_tls
from tests.http.server import HANGS, Server, serving
from tlsgate.auth.auth_http import PATIENCE, AuthHttp
from tlsgate.auth.auth_http_answer import Allowed, Denied, Unavailable
from tlsgate.auth.auth_http_request import Question, request_headers
from tlsgate.config import HostPort, Protocol, Url
from tlsgate.dialogue.credentials import Credentials
from tlsgate.http.client import Client

QUESTION = Question(Protocol.POP3, Credentials("ann", b"hunter 2"), IPv4Address("192.0.2.7"))


def answer(*headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 0", *headers, "", ""]).encode()


LET_IN = answer("Auth-Status: OK", "Auth-Server: 192.0.2.1", "Auth-Port: 110", "Auth-User: bob")
ALLOWED = Allowed(HostPort("192.0.2.1", 110), "bob", None)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(client_tls())
    yield client
    client.close()


def source(client: Client, server: Server) -> AuthHttp:
    return AuthHttp(client, Url(server.url("/auth?gate=1")))


@pytest.mark.parametrize("name", ["", "127.0.0.1"])
async def test_the_server_decides(client: Client, name: str) -> None:
    async with serving([LET_IN, answer("Auth-Status: No", "Auth-Wait: 2")], name=name) as server:
        ask = source(client, server).ask
        assert await ask(QUESTION) == ALLOWED
        assert await ask(QUESTION) == Denied("No", "", 2)
    expected = [b"%s: %s" % (header.encode(), value) for header, value in request_headers(QUESTION)]
    for connection, request in server.requests:
        line, host, *headers = request.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert (connection, line, host) == (0, b"GET /auth?gate=1 HTTP/1.1", b"Host: 127.0.0.1:%d" % server.port)
        assert headers == expected


async def test_a_server_that_says_wait_is_asked_again(client: Client, autojump_clock: trio.testing.MockClock) -> None:
    async with serving([answer("Auth-Status: WAIT", "Auth-Wait: 5"), answer("Auth-Status: WAIT"), LET_IN]) as server:
        began = trio.current_time()
        assert await source(client, server).ask(QUESTION) == ALLOWED
        assert trio.current_time() - began == pytest.approx(6)


async def test_but_not_forever(client: Client, autojump_clock: trio.testing.MockClock) -> None:
    async with serving([answer("Auth-Status: WAIT")] * 100) as server:
        assert await source(client, server).ask(QUESTION) == Unavailable("Auth-Status: WAIT for too long")
        assert len(server.requests) == PATIENCE


async def test_a_server_that_hangs_is_not_waited_for_forever(
    client: Client, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving([HANGS]) as server:
        began = trio.current_time()
        found = await source(client, server).ask(QUESTION)
        assert isinstance(found, Unavailable) and "no answer in time" in found.reason
        assert trio.current_time() - began == pytest.approx(PATIENCE)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"hunter 2\r\n\r\n",
        answer("Auth-Status: OK").replace(b": 0", b": 99999999"),
        answer("Auth-Status: OK", "X: " + "y" * 40_000),
    ],
    ids=["status", "garbage", "body", "head"],
)
async def test_a_server_in_trouble_lets_nobody_in(client: Client, said: bytes) -> None:
    async with serving([said + b"y" * 200_000]) as server:
        found = await source(client, server).ask(QUESTION)
        assert isinstance(found, Unavailable) and "hunter" not in found.reason


async def test_nobody_is_there(client: Client) -> None:
    async with serving([LET_IN]) as server:
        pass
    found = await source(client, server).ask(QUESTION)
    assert isinstance(found, Unavailable) and "Connection refused" in found.reason
