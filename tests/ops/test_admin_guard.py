"""Who is let in at the admin address: by its reach, by the token, and no page of a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.ops.admin_address import BEARER, JSON, TOKEN, Admin, Answer, serving
from tlsgate.config import HostPort, UnixPath
from tlsgate.ops.token import Token

WANTED = b'{"network": "192.0.2.1", "seconds": 60}'
EVERYWHERE = HostPort("0.0.0.0", 0)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    """On loopback, with a token."""
    async with serving(token=TOKEN) as admin:
        yield admin


async def ban(admin: Admin, **headers: str) -> Answer:
    """Whether somebody with these headers ("_" for "-") may change something, and the bans that there are by then."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await admin.ask("POST", "/api/bans", JSON | named, WANTED)
    assert (answer.status == 201) is bool(admin.told.banned_networks)
    return answer


# -- the token ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"authorization": "Bearer wrong-token-of-24-chars"},
        {"authorization": TOKEN.secret},
        {"cookie": TOKEN.secret},
    ],
)
async def test_no_change_without_the_token(admin: Admin, shown: dict[str, str]) -> None:
    answer = await ban(admin, **shown)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "token" in answer.json["error"]
    assert TOKEN.secret not in str(answer)


async def test_a_change_with_the_token(admin: Admin) -> None:
    assert (await ban(admin, **BEARER)).status == 201


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "NONSENSE"])
async def test_whatever_does_not_only_read_needs_it(admin: Admin, method: str) -> None:
    assert (await admin.ask(method, "/api/bans/192.0.2.1")).status == 401


async def test_this_host_may_read_without_it(admin: Admin) -> None:
    for path in ("/metrics", "/api/bans", "/healthz"):
        assert (await admin.ask("GET", path)).status == 200


async def test_without_a_configured_token_nothing_is_changed_and_the_words_say_what_to_set() -> None:
    async with serving() as admin:
        for headers in ({}, BEARER, {"authorization": "Bearer "}):
            answer = await ban(admin, **headers)
            assert answer.status == 403
            assert "admin.token_file" in answer.json["error"]


async def test_a_reload_changes_the_token(admin: Admin) -> None:
    admin.token = Token("another-token-of-28-characters")
    assert (await ban(admin, **BEARER)).status == 401
    assert (await ban(admin, authorization=f"Bearer {admin.token.secret}")).status == 201


@pytest.mark.parametrize("token", [TOKEN, None])
async def test_other_hosts_read_nothing_without_it_but_health(token: Token | None) -> None:
    """``None``: a reload may take the token away; the socket stays where it is."""
    async with serving(EVERYWHERE, token) as admin:
        for path in ("/metrics", "/api/bans", "/", "//healthz", "/healthz/"):
            assert (await admin.ask("GET", path)).status == (401 if token else 403)
        assert (await admin.ask("GET", "/healthz")).status == 200
        assert (await admin.ask("GET", "/readyz")).status == 503
        assert (await admin.ask("GET", "/metrics", BEARER)).status == (200 if token else 403)
        assert (await ban(admin, **BEARER)).status == (201 if token else 403)


async def test_a_unix_sockets_mode_is_enough_unless_there_is_a_token(tmp_path: Path) -> None:
    async with serving(UnixPath(tmp_path / "admin"), None) as admin:
        assert (await ban(admin)).status == 201
    async with serving(UnixPath(tmp_path / "admin"), TOKEN) as admin:
        assert (await ban(admin)).status == 401
        assert (await ban(admin, **BEARER)).status == 201


# -- pages in browsers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
async def test_pages_of_other_origins_neither_read_nor_change(admin: Admin, origin: str) -> None:
    assert (await ban(admin, origin=origin, **BEARER)).status == 403
    assert (await admin.ask("GET", "/api/bans", {"origin": origin})).status == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost"])
async def test_no_page_comes_from_a_unix_socket(tmp_path: Path, origin: str) -> None:
    """One comes through a proxy that somebody put before it; its mode guards nothing then."""
    async with serving(UnixPath(tmp_path / "admin")) as admin:
        assert (await ban(admin, origin=origin)).status == 403


async def test_a_page_of_our_own_may(admin: Admin) -> None:
    place = f"localhost:{admin.port}"
    assert (await ban(admin, host=place, origin=f"http://{place}", **BEARER)).status == 201


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9090", "localhost.evil.example", "192.0.2.1", "127.0.0.1.evil.example", "@", ""],
)
async def test_a_name_that_was_made_to_lead_here_is_refused(admin: Admin, host: str) -> None:
    """DNS rebinding: to the browser it is one origin, so it would show the page what we answer."""
    assert (await ban(admin, host=host, origin=f"http://{host}", **BEARER)).status == 421
    for path in ("/metrics", "/api/bans"):
        assert (await admin.ask("GET", path, {"host": host})).status == 421
    assert (await admin.ask("GET", "/healthz", {"host": host})).status == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "127.1.2.3"])
async def test_names_of_this_host(admin: Admin, host: str) -> None:
    """Another port is one that a tunnel leads from."""
    assert (await admin.ask("GET", "/api/bans", {"host": host})).status == 200


async def test_who_names_no_host_is_refused(admin: Admin) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", admin.port) as stream:
        with trio.fail_after(10):
            await stream.send_all(b"GET /api/bans HTTP/1.0\r\n\r\n")
            assert b" 421 " in await stream.receive_some()


async def test_ipv6_loopback_is_loopback() -> None:
    async with serving(HostPort("::1", 0)) as admin:
        assert (await admin.ask("GET", "/api/bans")).status == 200
        assert (await admin.ask("GET", "/api/bans", {"host": "evil.example"})).status == 421


async def test_behind_other_addresses_any_name_will_do() -> None:
    async with serving(EVERYWHERE, TOKEN) as admin:
        assert (await admin.ask("GET", "/api/bans", BEARER | {"host": "gate.example:9090"})).status == 200


async def test_a_refusal_comes_behind_the_body(admin: Admin) -> None:
    """Before it, the client would still be sending when the connection closes, and see no answer but a broken pipe."""
    head = (
        b"POST /api/bans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n"
    )
    async with await trio.open_tcp_stream("127.0.0.1", admin.port) as stream:
        await stream.send_all(head + b"x" * 1000)
        with trio.move_on_after(0.2) as early:
            await stream.receive_some()
        assert early.cancelled_caught
        await stream.send_all(b"x" * 1000)
        with trio.fail_after(5):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 401 ")


async def test_a_body_that_never_comes_is_not_waited_for(admin: Admin) -> None:
    head = b"POST /api/bans HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", admin.port) as stream:
        await stream.send_all(head)
        with trio.fail_after(5):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 401 ")
