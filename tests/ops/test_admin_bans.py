"""Bans through the admin API: what is taken, what is refused and how, and what the gateway then does."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from tests.ops.admin_address import BEARER, JSON, TOKEN, Admin, Answer, serving
from tlsgate.admission.network import parse_client, parse_network


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with serving(token=TOKEN) as admin:
        yield admin


async def post(admin: Admin, body: bytes, headers: dict[str, str] = JSON) -> Answer:
    return await admin.ask("POST", "/api/bans", BEARER | headers, body)


async def ban(admin: Admin, network: str, **more: Any) -> Answer:
    return await post(admin, msgspec.json.encode({"network": network, "seconds": 3600, **more}))


async def test_a_ban_is_in_force_listed_and_told(admin: Admin) -> None:
    before = time.time()
    made = await ban(admin, "192.0.2.0/24", reason="scans")
    assert made.status == 201
    assert admin.bans.find(parse_client("192.0.2.77")) is not None
    assert admin.told.banned_networks == ["192.0.2.0/24"]
    (listed,) = (await admin.ask("GET", "/api/bans")).json
    assert listed.pop("seconds_left") <= made.json["seconds_left"] <= 3600
    assert listed.keys() == {"network", "since", "until", "count", "reason"}
    assert listed.items() <= made.json.items()
    assert (listed["network"], listed["count"], listed["reason"]) == ("192.0.2.0/24", 1, "scans")
    assert before - 0.01 <= listed["since"] <= time.time() + 0.01
    assert listed["until"] == pytest.approx(listed["since"] + 3600, abs=0.01)


async def test_what_has_ended_is_not_listed(admin: Admin) -> None:
    admin.bans.load(b'[{"network":"192.0.2.1/32","since":1,"until":2,"count":1,"reason":""}]')
    assert (await admin.ask("GET", "/api/bans")).json == []


@pytest.mark.parametrize(
    ("network", "taken"),
    [
        ("192.0.2.77", "192.0.2.77/32"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("2001:DB8::1/64", "2001:db8::/64"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
)
async def test_a_network_is_taken_and_lifted_however_it_is_written(admin: Admin, network: str, taken: str) -> None:
    assert (await ban(admin, network)).json["network"] == taken
    assert (await admin.ask("DELETE", f"/api/bans/{network}", BEARER)).status == 204
    assert admin.told.unbanned_networks == [(taken, "admin")]
    await ban(admin, network)
    query = network.replace("/", "%2F").replace(":", "%3A")
    assert (await admin.ask("DELETE", f"/api/bans?network={query}", BEARER)).status == 204
    assert len(admin.bans) == 0


async def test_what_is_not_banned_is_404(admin: Admin) -> None:
    await ban(admin, "192.0.2.0/24")
    for network in ("192.0.2.1", "192.0.0.0/16", "2001:db8::/64"):
        answer = await admin.ask("DELETE", f"/api/bans/{network}", BEARER)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert len(admin.bans) == 1
    assert not admin.told.unbanned_networks


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "192.0.2.1/0", "::ffff:0:0/96"])
async def test_nobody_locks_out_the_world(admin: Admin, network: str) -> None:
    answer = await ban(admin, network)
    assert answer.status == 400
    assert "too wide" in answer.json["error"]
    assert len(admin.bans) == 0


@pytest.mark.parametrize(
    "network", ["", "unix", "host.example", "192.0.2.1/33", "192.0.2", "::1%eth0", "1.2.3.4\0", "é"]
)
async def test_what_is_no_network(admin: Admin, network: str) -> None:
    answer = await ban(admin, network)
    assert answer.status == 400
    assert "prefix" in answer.json["error"] or "length" in answer.json["error"]
    assert (await admin.ask("DELETE", "/api/bans?network=host.example", BEARER)).status == 400
    assert (await admin.ask("DELETE", "/api/bans", BEARER)).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 4000,
        b'{"network": "192.0.2.1"}',
        b'{"seconds": 60}',
        b'{"network": "192.0.2.1", "seconds": "60"}',
        b'{"network": "192.0.2.1", "seconds": true}',
        b'{"network": "192.0.2.1", "seconds": 0.5}',
        b'{"network": "192.0.2.1", "seconds": -1}',
        b'{"network": "192.0.2.1", "seconds": 1e999}',
        b'{"network": "192.0.2.1", "seconds": NaN}',
        b'{"network": "192.0.2.1", "seconds": 400000000}',
        b'{"network": "192.0.2.1", "seconds": 60, "forever": true}',
        b'{"network": "192.0.2.1", "seconds": 60, "reason": "\\u001b[2J"}',
        b'{"network": "192.0.2.1", "seconds": 60, "reason": "two\\nlines"}',
        b'{"network": "192.0.2.1", "seconds": 60, "reason": "\xff"}',
        b'{"network": "192.0.2.1", "seconds": 60, "reason": null}',
        b'{"network": "192.0.2.1", "seconds": 60, "reason": "' + b"r" * 201 + b'"}',
        b'{"network": "' + b"1" * 65 + b'", "seconds": 60}',
    ],
    ids=lambda body: body[:70].decode("latin-1"),
)
async def test_what_is_no_ban_is_400_with_words(admin: Admin, body: bytes) -> None:
    answer = await post(admin, body)
    assert answer.status == 400
    assert answer.json["error"]
    assert len(admin.bans) == 0


@pytest.mark.parametrize("seconds", [1, 10 * 365 * 86_400])
async def test_the_shortest_and_the_longest(admin: Admin, seconds: int) -> None:
    assert (await ban(admin, "192.0.2.1", seconds=seconds, reason="r" * 200)).status == 201


async def test_a_ban_without_a_reason_says_who_made_it(admin: Admin) -> None:
    assert (await ban(admin, "192.0.2.1")).json["reason"] == "admin"


async def test_a_second_ban_replaces_the_first(admin: Admin) -> None:
    await ban(admin, "192.0.2.1", seconds=60)
    await ban(admin, "192.0.2.1", seconds=7200, reason="again")
    (listed,) = (await admin.ask("GET", "/api/bans")).json
    assert listed["reason"] == "again"
    assert listed["seconds_left"] > 3600


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_what_a_form_can_send_is_not_taken(admin: Admin, kind: str) -> None:
    """A browser sends these from anywhere without asking first."""
    answer = await post(admin, b'{"network": "192.0.2.1", "seconds": 60}', {"content-type": kind})
    assert answer.status == 415
    assert len(admin.bans) == 0


async def test_a_charset_does_no_harm(admin: Admin) -> None:
    kind = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await post(admin, b'{"network": "192.0.2.1", "seconds": 60}', kind)).status == 201


async def test_a_body_is_bounded(admin: Admin) -> None:
    assert (await post(admin, b" " * 4097)).status == 413
    padded = b'{"network": "192.0.2.1", "seconds": 60}'.ljust(4096)
    assert (await post(admin, padded)).status == 201


async def test_a_body_has_its_time(autojump_clock: trio.testing.MockClock) -> None:
    """An octet now and then would hold a connection for hours."""
    async with serving(token=TOKEN) as admin, trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", admin.port)
        started = trio.current_time()
        nursery.start_soon(_trickle, stream)
        assert b" 408 " in await stream.receive_some()
        assert trio.current_time() - started < 15
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)


async def _trickle(stream: trio.SocketStream) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in (BEARER | JSON).items())
    await stream.send_all(f"POST /api/bans HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: 4000\r\n\r\n".encode())
    while True:
        await trio.sleep(4)
        await stream.send_all(b" ")


async def test_who_hangs_up_within_a_body_does_no_harm(admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", admin.port) as stream:
        head = "".join(f"{name}: {value}\r\n" for name, value in (BEARER | JSON).items())
        await stream.send_all(
            f"POST /api/bans HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: 9\r\n\r\n[".encode()
        )
    assert (await admin.ask("GET", "/healthz")).status == 200
    assert not caplog.records


async def test_many_bans_are_listed_whole(admin: Admin) -> None:
    for number in range(2000):
        admin.bans.add(parse_network(f"10.{number >> 8}.{number & 255}.0/24")[0], 3600, "r")
    listed = (await admin.ask("GET", "/api/bans")).json
    assert len({each["network"] for each in listed}) == 2000
