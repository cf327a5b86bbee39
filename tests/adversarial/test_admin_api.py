"""Attacks on the admin API: by who has no token, by pages in an administrator's browser, and by malformed HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from starlette.routing import Route

from tests.ops.admin_address import BEARER, JSON, TOKEN, Admin, Nowhere, serving
from tlsgate.config import HostPort
from tlsgate.controls import Controls
from tlsgate.ops.admin import application
from tlsgate.ops.admin_guard import Reach
from tlsgate.ops.history import History

BAN = b'{"network": "192.0.2.1", "seconds": 60}'
HEAD = b"POST /api/bans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
AUTHORIZATION = b"Authorization: Bearer " + TOKEN.secret.encode() + b"\r\n"
CHANGES = [
    ("POST", "/api/bans"),
    ("DELETE", "/api/bans/192.0.2.1"),
    ("DELETE", "/api/sessions/abc"),
    ("DELETE", "/api/sessions?user=ann"),
    ("POST", "/api/drain"),
    ("POST", "/api/reload"),
]


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    """On loopback, with a token; behind it there is no gateway, so what gets through to one fails with 500."""
    async with serving(token=TOKEN) as admin:
        yield admin


async def raw(admin: Admin, sent: bytes) -> bytes:
    """All that comes back to these octets until the connection is closed, which it has to be."""
    got = b""
    async with await trio.open_tcp_stream("127.0.0.1", admin.port) as stream:
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            await stream.send_all(sent)
            while piece := await stream.receive_some():
                got += piece
    return got


def statuses(answers: bytes) -> list[int]:
    return [int(each[:3]) for each in answers.split(b"HTTP/1.1 ")[1:]]


# -- authentication ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_every_change_needs_the_token(admin: Admin, method: str, path: str) -> None:
    """One route that was forgotten, or a header that stands for it, and any process on the host bans or drains."""
    shown: list[dict[str, str]] = [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer " + TOKEN.secret[:-1]},
        {"authorization": f"Bearer {TOKEN.secret}, Bearer x"},
        {"authorization": "Basic " + TOKEN.secret},
        {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1"},
    ]
    for headers in shown:
        assert (await admin.ask(method, path, JSON | headers, BAN)).status == 401
    assert not admin.told.banned_networks
    assert (await admin.ask(method, path, JSON | BEARER, BAN)).status != 401  # it is the token that is missed


async def test_every_route_that_there_is_is_behind_the_token(admin: Admin) -> None:
    """One that is added later is meant too."""
    registry, nowhere = admin.metrics.registry, Nowhere()
    controls = Controls(admin.bans, lambda: TOKEN, nowhere)
    routes = application(registry, admin.health, controls, History(registry, nowhere.report), Reach.HOST).routes
    asked = {(method, route.path) for route in routes if isinstance(route, Route) for method in route.methods or ()}
    assert ("POST", "/api/reload") in asked
    for method, path in asked:
        answer = await admin.ask(method, path.replace("{network:path}", "x").replace("{session}", "x"))
        assert (answer.status == 401) is (method not in ("GET", "HEAD")), (method, path)


async def test_no_header_or_query_makes_a_get_change_anything(admin: Admin) -> None:
    """A link is enough to make a browser send one, and a link can hold anything."""
    for method, path in CHANGES:
        query = f"{'&' if '?' in path else '?'}_method={method}&method={method}&token={TOKEN.secret}&network=192.0.2.1"
        override = {"x-http-method-override": method, "x-http-method": method, "x-method-override": method}
        for asked in ("GET", "HEAD"):
            await admin.ask(asked, path + query, override | BEARER)
    assert not admin.told.banned_networks
    assert not admin.told.unbanned_networks


async def test_the_token_in_a_query_or_a_cookie_is_none(admin: Admin) -> None:
    """Both end up in logs and in browsers, and a browser adds a cookie by itself."""
    for headers in (
        {"cookie": f"token={TOKEN.secret}; authorization=Bearer {TOKEN.secret}"},
        {"x-token": TOKEN.secret},
    ):
        assert (await admin.ask("POST", f"/api/bans?token={TOKEN.secret}", JSON | headers, BAN)).status == 401


# -- pages in browsers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
@pytest.mark.parametrize("dest", ["empty", "image", "script", "iframe", "document"])
async def test_pages_of_other_sites_neither_read_nor_change(admin: Admin, site: str, dest: str) -> None:
    """Images, scripts and frames are asked for without an Origin; a page of another port of localhost is same-site."""
    mode = {"document": "navigate", "iframe": "navigate"}.get(dest, "no-cors")
    fetched = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    for path in ("/api/bans", "/metrics", "/"):
        follows_a_link = dest == "document"
        assert (await admin.ask("GET", path, fetched)).status == (200 if follows_a_link else 403)
    for method, path in CHANGES:
        assert (await admin.ask(method, path, JSON | BEARER | fetched, BAN)).status == 403
    assert not admin.told.banned_networks


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_our_own_page_and_an_address_that_was_typed_are_served(admin: Admin, site: str) -> None:
    fetched = {"sec-fetch-site": site, "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    assert (await admin.ask("GET", "/api/bans", fetched)).status == 200


async def test_a_form_of_another_page_bans_nobody(admin: Admin) -> None:
    """It can send any of these three without asking us first; what else it sends has an Origin."""
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
        assert (await admin.ask("POST", "/api/bans", BEARER | {"content-type": kind}, BAN)).status == 415
    assert not admin.told.banned_networks


async def test_no_preflight_is_granted(admin: Admin) -> None:
    """With these headers in the answer a page could send the token that it was told by its victim."""
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = await admin.ask("OPTIONS", "/api/bans", asked | {"access-control-request-headers": "authorization"})
    assert answer.status == 403
    for path in ("/api/bans", "/metrics", "/healthz", "/"):
        answer = await admin.ask("GET", path)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_no_answer_is_of_use_to_another_page_or_a_cache(admin: Admin) -> None:
    for path in ("/api/bans", "/metrics", "/healthz", "/", "/nowhere"):
        headers = (await admin.ask("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] in ("no-store", "no-cache")


@pytest.mark.parametrize("host", [b"evil.example", b"localhost"])
async def test_no_websocket_is_opened(admin: Admin, host: bytes) -> None:
    """Browsers let pages of any origin open one."""
    answers = await raw(
        admin,
        b"GET /api/bans HTTP/1.1\r\nHost: " + host + b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert statuses(answers) == [403]


# -- DNS rebinding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "127.0.0.1.evil.example",
        "0x7f000001.evil.example",
        "2130706433",
        "0177.0.0.1",
        "[::ffff:192.0.2.1]",
        "localhost, evil.example",
        "localhost/evil.example",
    ],
)
async def test_a_page_whose_name_was_made_to_lead_here_is_refused(admin: Admin, host: str) -> None:
    """To the browser it is of one origin with us: neither Origin nor Sec-Fetch-Site gives it away."""
    own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert (await admin.ask("GET", "/api/bans", own)).status == 421
    assert (await admin.ask("POST", "/api/bans", JSON | BEARER | own, BAN)).status == 421
    assert not admin.told.banned_networks


# -- request smuggling ---------------------------------------------------------------------------------

SMUGGLED = b"DELETE /api/bans/192.0.2.1 HTTP/1.1\r\nHost: localhost\r\n" + AUTHORIZATION + b"\r\n"


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 39\r\nContent-Length: 0\r\n",
        b"Content-Length: 39, 0\r\n",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 39\r\n",
        b"Content-Length: +39\r\n",
        b"Content-Length: 0x27\r\n",
        b"Content-Length: 39 0\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length : 39\r\n",
        b"Content-Length:\r\n 39\r\nContent-Length: 0\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
    ],
)
async def test_a_body_whose_end_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    admin: Admin, lengths: bytes
) -> None:
    """A proxy that saw another end would take what is behind ours for the next client's request."""
    chunked = b"27\r\n" + BAN + b"\r\n0\r\n\r\n"
    for body in (BAN, chunked):
        answers = await raw(admin, HEAD + AUTHORIZATION + lengths + b"\r\n" + body + SMUGGLED)
        assert [each // 100 for each in statuses(answers)] in ([4], [5]), answers
    assert not admin.told.banned_networks + admin.told.unbanned_networks


async def test_chunks_are_no_part_of_http_1_0(admin: Admin) -> None:
    """A proxy of that age passes the body on as it is (RFC 9112 6.1)."""
    head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + AUTHORIZATION
    answers = await raw(admin, head + b"Transfer-Encoding: chunked\r\n\r\n27\r\n" + BAN + b"\r\n0\r\n\r\n")
    assert statuses(answers) == [400]
    assert not admin.told.banned_networks


@pytest.mark.parametrize(
    "chunks",
    [
        b"-1\r\n",
        b"0x27\r\n" + BAN + b"\r\n0\r\n\r\n",
        b"27 27\r\n" + BAN + b"\r\n0\r\n\r\n",
        b"fffffffffffffffffffff\r\n" + BAN,
        b"27\r\n" + BAN + b"0\r\n\r\n",
        b"\r\n" + BAN,
        b"27;" + b"x" * 70_000 + b"\r\n" + BAN,
    ],
)
async def test_chunks_that_are_none_end_the_connection(admin: Admin, chunks: bytes) -> None:
    answers = await raw(admin, HEAD + AUTHORIZATION + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert [each // 100 for each in statuses(answers)] in ([4], [])
    assert not admin.told.banned_networks


async def test_no_trailer_shows_the_token(admin: Admin) -> None:
    """What comes behind a body is no header: who has let the request through has not seen it."""
    answers = await raw(
        admin,
        HEAD
        + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n27\r\n"
        + BAN
        + b"\r\n0\r\n"
        + AUTHORIZATION
        + b"\r\n",
    )
    assert statuses(answers) == [401]


@pytest.mark.parametrize(
    "twice",
    [
        b"Host: evil.example\r\n",
        b"Authorization: Bearer other\r\n",
        b"Content-Type: text/plain\r\n",
        b"Origin: http://localhost\r\nOrigin: http://evil.example\r\n",
        b"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
    ],
)
async def test_what_decides_is_there_once(admin: Admin, twice: bytes) -> None:
    """A proxy that checks the first and a server that goes by the last check nothing."""
    head = HEAD + AUTHORIZATION + twice + b"Content-Length: 39\r\n\r\n"
    assert statuses(await raw(admin, head + BAN)) == [400]
    assert not admin.told.banned_networks


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"X-A: b\r\n Host: evil.example\r\n", 200),  # RFC 9112 5.2: a space, and no header of its own
        (b" Host: evil.example\r\n", 200),
        (b"X-A: b\rHost: evil.example\r\n", 400),
        (b"X-A: b\0c\r\n", 400),
        (b"X-A : b\r\n", 400),
        (b"X A: b\r\n", 400),
        (b": b\r\n", 400),
        (b"X-A b\r\n", 400),
    ],
)
async def test_lines_of_the_head(admin: Admin, lines: bytes, status: int) -> None:
    """Folded ones are one header's value, others that are malformed end the connection."""
    head = b"GET /api/bans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-B: c\r\n"
    assert statuses(await raw(admin, head + lines + b"\r\n")) == [status]


async def test_a_bare_newline_ends_a_line_for_every_check(admin: Admin) -> None:
    """RFC 9112 2.2 lets it, as nginx and HAProxy do; what counts is that no header hides behind one."""
    seen = b"GET /api/bans HTTP/1.1\nHost: localhost\nConnection: close\nX-A: b\nOrigin: http://evil.example\n\n"
    assert statuses(await raw(admin, seen)) == [403]
    assert statuses(await raw(admin, seen.replace(b"localhost", b"evil.example"))) == [421]


@pytest.mark.parametrize(
    "target",
    [
        b"http://localhost/api/bans",
        b"http://evil.example/api/bans",
        b"//evil.example/api/bans",
        b"/../api/bans",
        b"/api//bans",
        b"/api/bans/../bans",
        b"/API/bans",
        b"api/bans",
        b"*",
        b"/healthz/../api/bans",
        b"/healthz%2f..%2fapi%2fbans",
        b"/healthz;/api/bans",
    ],
)
async def test_no_other_way_to_write_a_path_leads_anywhere(target: bytes) -> None:
    """What is let through for one path would do what another one does."""
    async with serving(HostPort("0.0.0.0", 0), TOKEN) as everywhere:
        for token, status in ((b"", 401), (AUTHORIZATION, 404)):
            head = b"POST " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + token
            head += b"Content-Type: application/json\r\nContent-Length: 39\r\n\r\n"
            assert statuses(await raw(everywhere, head + BAN))[0] in (status, 400, 405)
        assert not everywhere.told.banned_networks


async def test_one_request_after_another_each_shows_its_own_token(admin: Admin) -> None:
    """Who comes behind an administrator on a connection of a proxy's is no administrator."""
    ban = b"Content-Length: 39\r\n\r\n" + BAN
    close = HEAD.replace(b"Host", b"Connection: close\r\nHost")
    assert statuses(await raw(admin, HEAD + AUTHORIZATION + ban + close + ban)) == [201, 401]


# -- sizes and time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: a\r\n" * 30_000 + b"\r\n",
        b"\r\n" * 100_000,
        b"a" * 200_000,
    ],
    ids=["target", "header", "headers", "empty lines", "no end"],
)
async def test_a_head_is_bounded(admin: Admin, head: bytes) -> None:
    """It is kept in memory until it ends."""
    assert [each // 100 for each in statuses(await raw(admin, head))] in ([4], [])
    assert (await admin.ask("GET", "/healthz")).status == 200


async def test_a_body_is_bounded_whatever_its_length_says(admin: Admin) -> None:
    for length in (b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"):
        answers = await raw(admin, HEAD + AUTHORIZATION + length + b" " * 100_000)
        assert statuses(answers) in ([413], [])  # a client that still sends may lose the answer
    assert not admin.told.banned_networks


@pytest.mark.parametrize("path", ["/api/bans", "/api/drain", "/api/sessions/x", "/nowhere", "/healthz"])
async def test_a_body_that_trickles_in_holds_nobody(
    path: str, admin: Admin, autojump_clock: trio.testing.MockClock
) -> None:
    """An octet in nine seconds is within any time-out that begins again with each."""
    head = HEAD.replace(b"/api/bans", path.encode()) + AUTHORIZATION + b"Content-Length: 3000\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", admin.port) as stream, trio.open_nursery() as nursery:

        async def trickle() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(head)
                while True:
                    await trio.sleep(9)
                    await stream.send_all(b" ")

        nursery.start_soon(trickle)
        started = trio.current_time()
        with suppress(trio.BrokenResourceError):
            async for _ in stream:
                pass
        assert trio.current_time() - started < 60
        nursery.cancel_scope.cancel()


async def test_requests_of_one_connection_are_counted(admin: Admin) -> None:
    """Else one connection could keep this process busy for good."""
    answered = b""
    async with await trio.open_tcp_stream("127.0.0.1", admin.port) as stream, trio.open_nursery() as nursery:

        async def ask() -> None:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)

        nursery.start_soon(ask)
        with trio.fail_after(60), suppress(trio.BrokenResourceError):
            async for piece in stream:
                answered += piece
    assert len(statuses(answered)) < 1100
