"""Live sessions through the admin API of a whole gateway: who is shown, who is ended, and what its client is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from tests.legacy_server import SECRET, USER, imap, late, silent
from tests.ops.live_gateway import live_gateway
from tlsgate.config import Protocol

pytestmark = pytest.mark.timeout(60)


async def test_a_relayed_session_is_shown_with_all_that_is_known_and_no_secret(tmp_path: Path) -> None:
    before = time.time()
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in()
        (first,) = await gate.listed(1, "?user=ann")
        await client.ask(b"n NOOP")
        answer = await gate.ask("GET", "/api/sessions")
        page = answer.json
        assert SECRET.encode() not in answer.body
        assert (page["total"], page["next"], page["unheard"]) == (1, None, 0)
        (shown,) = page["sessions"]
        assert before - 1 <= shown.pop("since") <= time.time()
        assert shown.pop("client_port") == client.socket.getsockname()[1]
        assert shown.pop("cipher").startswith("TLS_")
        up, down = shown.pop("bytes_in"), shown.pop("bytes_out")
        assert up == first["bytes_in"] + len(b"n NOOP\r\n")
        assert down > first["bytes_out"]
        assert shown == {
            "id": first["id"],
            "listener": "imaps",
            "client": "127.0.0.1",
            "phase": "relay",
            "user": USER,
            "mechanism": "LOGIN",
            "backend": str(gate.backends[Protocol.IMAP].address),
            "tls_version": "TLSv1.3",
        }
        told = gate.log.next("session")
        client.close()
        assert (await told)["session"] == first["id"]
        await gate.listed(0)


async def test_octets_of_mail_are_shown_while_the_session_lives(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in("submissions")
        (before,) = await gate.listed(1, "?user=ann")
        assert before["phase"] == "mail"
        await client.ask(b"NOOP")
        (after,) = await gate.sessions()
        assert after["bytes_in"] == before["bytes_in"] + len(b"NOOP\r\n")
        assert after["bytes_out"] > before["bytes_out"]


async def test_filters(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        await gate.log_in("imaps", "127.0.0.2")
        await gate.log_in("pop3s", "127.0.0.3")
        await gate.connect("imaps", "127.0.0.2")
        await gate.listed(3)
        await gate.listed(2, "?user=ann")
        for query, count in {
            "?user=ANN": 2,
            "?user=an": 0,
            "?listener=imaps": 2,
            "?listener=imap": 0,
            "?client=127.0.0.2": 2,
            "?client=127.0.0.0/8": 3,
            "?client=127.0.0.2/31": 3,
            "?client=::1": 0,
            "?client=127.0.0.2&user=ann": 1,
            "?listener=pop3s&client=127.0.0.2": 0,
        }.items():
            assert len(await gate.sessions(query)) == count, query


async def test_pages(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        for _ in range(5):
            await gate.log_in()
        await gate.connect()
        ids = [each["id"] for each in await gate.listed(6)]
        page = await gate.get("/api/sessions?limit=4")
        assert [each["id"] for each in page["sessions"]] == ids[:4]
        assert page["total"] == 6
        page = await gate.get(f"/api/sessions?limit=4&after={page['next']}")
        assert [each["id"] for each in page["sessions"]] == ids[4:]
        assert page["next"] is None


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "client=host", "client=127.0.0.1/33", "usr=ann", "after=" + "x" * 2000],
)
async def test_what_cannot_be_asked(tmp_path: Path, query: str) -> None:
    async with live_gateway(tmp_path) as gate:
        answer = await gate.ask("GET", f"/api/sessions?{query}")
        assert answer.status == 400
        assert answer.json["error"]


# -- ends ------------------------------------------------------------------------------------------------


async def test_one_imap_session_is_told_bye_and_the_others_go_on(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        one, other = await gate.log_in("imaps", "127.0.0.2"), await gate.log_in()
        (shown,) = await gate.listed(1, "?client=127.0.0.2&user=ann")
        answer = await gate.ask("DELETE", f"/api/sessions/{shown['id']}")
        assert (answer.status, answer.json) == (200, {"kicked": 1})
        assert (await one.line()).startswith(b"* BYE ")
        assert await one.ended()
        assert (await other.ask(b"n NOOP")).startswith(b"n OK")
        (ended,) = gate.log.all("session")
        assert (ended["session"], ended["result"], ended["reason"]) == (shown["id"], "kicked", "kicked")
        assert (await gate.ask("DELETE", f"/api/sessions/{shown['id']}")).status == 404


async def test_a_pop3_session_is_closed_without_a_word(tmp_path: Path) -> None:
    """There is no line that a POP3 server may begin: it would be taken for the answer to the next command."""
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in("pop3s")
        await gate.listed(1, "?user=ann")
        assert (await gate.ask("DELETE", "/api/sessions?user=ann")).json == {"kicked": 1}
        assert await client.ended()


async def test_a_submission_session_is_told_421(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in("submissions")
        await gate.listed(1, "?user=ann")
        assert (await gate.ask("DELETE", "/api/sessions?user=Ann")).json == {"kicked": 1}
        assert (await client.line()).startswith(b"421 ")
        assert await client.ended()
        assert gate.log.all("session")[0]["result"] == "kicked"


async def test_a_client_within_its_message_is_closed_without_a_word_and_the_message_is_not_taken(
    tmp_path: Path,
) -> None:
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in("submissions")
        for command in (b"MAIL FROM:<ann@a.test>", b"RCPT TO:<ben@b.test>"):
            assert (await client.ask(command)).startswith(b"250 ")
        assert (await client.ask(b"DATA")).startswith(b"354 ")
        await client.send(b"Subject: half\r\n\r\nof a mess")
        await gate.listed(1, "?user=ann")
        assert (await gate.ask("DELETE", "/api/sessions?user=ann")).json == {"kicked": 1}
        assert await client.ended()
        assert not gate.backends[Protocol.SUBMISSION].messages


async def test_who_has_not_logged_in_is_ended_too(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        client = await gate.connect()
        (shown,) = await gate.listed(1)
        assert (shown["phase"], shown["user"]) == ("login", None)
        assert (await gate.ask("DELETE", f"/api/sessions/{shown['id']}")).status == 200
        assert (await client.line()).startswith(b"* BYE ")
        assert await client.ended()


async def test_a_silent_client_within_its_handshake_is_ended(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        host, _, port = gate.addresses["imaps"].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            (shown,) = await gate.listed(1)
            assert shown["phase"] == "handshake"
            assert (await gate.ask("DELETE", f"/api/sessions/{shown['id']}")).status == 200
            assert await stream.receive_some() == b""


async def test_all_sessions_of_a_user_and_nobody_elses(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        mine = [await gate.log_in(each) for each in ("imaps", "imaps", "pop3s", "submissions")]
        other = await gate.connect()
        await gate.listed(4, "?user=ann")
        assert (await gate.ask("DELETE", "/api/sessions?user=an")).status == 404
        assert (await gate.ask("DELETE", "/api/sessions?user=ann")).json == {"kicked": 4}
        for client in mine:
            with trio.fail_after(5):
                while await client.line():
                    pass
        assert (await other.log_in()).startswith(b"a OK")


async def test_who_waits_for_a_backend_is_cut_off(tmp_path: Path) -> None:
    """Nothing else may keep a session that an admin wants to be gone."""
    async with live_gateway(tmp_path) as gate:
        gate.backends[Protocol.IMAP].scripts = (silent,)
        client = await gate.connect()
        await client.send(b'a LOGIN "ann" "x"\r\n')
        (shown,) = await gate.listed(1)
        assert (await gate.ask("DELETE", f"/api/sessions/{shown['id']}")).json == {"kicked": 1}
        with trio.fail_after(1):
            assert await client.ended()


async def test_a_session_that_is_ended_while_it_logs_in_is_ended_behind_the_login(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        gate.backends[Protocol.IMAP].scripts = (late(imap, 0.5),)
        client = await gate.connect()
        await client.send(b'a LOGIN "ann" "open, Sesame 7"\r\n')
        (shown,) = await gate.listed(1)
        assert (await gate.ask("DELETE", f"/api/sessions/{shown['id']}")).json == {"kicked": 1}
        assert await gate.sessions() == []
        assert (await client.line()).startswith(b"a OK")
        assert (await client.line()).startswith(b"* BYE ")


async def test_names_that_no_session_has_are_refused_before_any_worker_hears_of_them(tmp_path: Path) -> None:
    """What a worker can't read ends it, with all its sessions."""
    async with live_gateway(tmp_path) as gate:
        for whom in (f"/{'x' * 2000}", f"?user={'x' * 2000}"):
            assert (await gate.ask("DELETE", f"/api/sessions{whom}")).status == 400


@pytest.mark.parametrize(
    "query", ["", "?user=", "?listener=imaps", "?user=ann&client=192.0.2.1", "?client=0.0.0.0/0", "?usr=ann"]
)
async def test_nobody_is_ended_by_a_slip(tmp_path: Path, query: str) -> None:
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in()
        await gate.listed(1, "?user=ann")
        assert (await gate.ask("DELETE", f"/api/sessions{query}")).status == 400
        assert (await client.ask(b"n NOOP")).startswith(b"n OK")
