"""The HTTP client before a server that answers well, badly, too much, or not at all."""

from __future__ import annotations

import socket
import ssl
import struct
import traceback
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.gate import client_tls
from tests.http.server import HANGS, OK, Server, serving
from tlsgate.http.client import LONGEST_IDLE, MOST_AT_ONCE, MOST_KEPT, Client
from tlsgate.http.exchange import LARGEST_HEAD
from tlsgate.http.message import BadResponse, HttpError, Response, TimedOut, TooLarge, Unreachable

LARGEST = 1000
NAME = "auth.example.org"


class Asking(Client):
    """With defaults for what a test doesn't care for."""

    async def get(self, url: str, *, seconds: float = 10.0) -> Response:
        return await self.request("GET", url, (), b"", largest=LARGEST, deadline=trio.current_time() + seconds)


@pytest.fixture
def client() -> Iterator[Asking]:
    client = Asking(client_tls())
    yield client
    client.close()


async def fault(client: Asking, server: Server, kind: type[HttpError]) -> str:
    """The text of what is raised, and of all that would be printed with it."""
    with pytest.raises(kind) as caught:
        await client.get(server.url())
    assert type(caught.value) is kind
    return "".join(traceback.format_exception(caught.value))


# -- asking ----------------------------------------------------------------------------------------------


async def test_what_is_sent_and_what_comes_back(client: Asking) -> None:
    answer = b"HTTP/1.1 404 No\r\nX-One: a b\r\nContent-Length: 3\r\nx-one:  c \r\n\r\nabc"
    async with serving([answer]) as server:
        url = server.url("/a?b=c").replace("//", "//me:pw@")
        headers = (("Auth-User", "é".encode()), ("X-Empty", b""))
        response = await client.request("POST", url, headers, b"body", largest=3, deadline=trio.current_time() + 10)
    assert (response.status, response.body) == (404, b"abc")
    assert response.values("x-one") == (b"a b", b"c")
    assert server.requests == [
        (
            0,
            f"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Basic bWU6cHc=\r\n"
            "Content-Length: 4\r\nAuth-User: é\r\nX-Empty: \r\n\r\nbody".encode(),
        )
    ]


async def test_a_redirect_is_an_answer_like_others(client: Asking) -> None:
    """Followed, it would lead whoever answers to any server that we can reach."""
    async with serving([OK]) as other:
        moved = f"HTTP/1.1 302 Found\r\nLocation: {other.url()}\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving([moved]) as server:
            assert (await client.get(server.url())).status == 302
        assert other.opened == 0


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\nX: trailer\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\n" + OK,
    ],
)
@pytest.mark.parametrize("secure", [False, True])
async def test_every_form_of_a_body(client: Asking, answer: bytes, secure: bool) -> None:
    async with serving([answer], name="127.0.0.1" if secure else "") as server:
        assert (await client.get(server.url())).body == b"ok"


async def test_headers_that_cannot_be_sent_are_not_shown(client: Asking) -> None:
    async with serving([OK]) as server:
        for value in (b"hunter2\r\nAuth-Status: OK", b"hunter2\0", b" hunter2"):
            with pytest.raises(ValueError) as caught:
                await client.request("GET", server.url(), (("Auth-Pass", value),), b"", largest=0, deadline=1e9)
            assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        assert server.opened == 0


# -- connections that are kept ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "127.0.0.1"])
async def test_a_connection_serves_one_request_after_another(client: Asking, name: str) -> None:
    async with serving([OK] * 5, name=name) as server:
        for _ in range(5):
            await client.get(server.url())
        assert [number for number, _ in server.requests] == [0] * 5


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.0 200 OK\r\n\r\nok"]
)
async def test_a_connection_that_the_server_ends_is_not_used_again(client: Asking, answer: bytes) -> None:
    async with serving([answer, OK], [OK]) as server:
        for _ in range(2):
            assert (await client.get(server.url())).body == b"ok"
        assert [number for number, _ in server.requests] == [0, 1]


async def test_who_is_asked_first_on_a_dead_connection_is_asked_once_more(client: Asking) -> None:
    """Servers close idle connections at any time: no login may fail by it."""
    async with serving([OK], [OK]) as server:
        await client.get(server.url())
        assert (await client.get(server.url())).body == b"ok"  # read, then closed without a word
        assert [number for number, _ in server.requests] == [0, 0, 1]


async def test_it_is_asked_once_more_and_not_forever(client: Asking) -> None:
    async with serving([OK], []) as server:
        await client.get(server.url())
        assert "closed without an answer" in await fault(client, server, Unreachable)
        assert [number for number, _ in server.requests] == [0, 0, 1]


async def test_a_new_connection_without_an_answer_is_not_tried_again(client: Asking) -> None:
    """The server may have acted on the request, and would again."""
    async with serving([]) as server:
        await fault(client, server, Unreachable)
        assert server.opened == 1


async def test_a_part_of_an_answer_is_not_asked_for_again(client: Asking) -> None:
    async with serving([OK, b"HTTP/1.0 2"], [OK]) as server:
        await client.get(server.url())
        await fault(client, server, BadResponse)
        assert server.opened == 1


@pytest.mark.parametrize("name", ["", "127.0.0.1"])
async def test_an_answer_to_no_question_is_never_an_answer(client: Asking, name: str) -> None:
    """Taken for the next one, it would let one user in by another's password."""
    unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with serving([OK + unasked, OK], [OK]) as server:
        for _ in range(3):
            assert (await client.get(server.url())).body == b"ok"
            await wait_all_tasks_blocked()


@pytest.mark.parametrize("name", ["", "127.0.0.1"])
async def test_nor_is_one_that_comes_later(client: Asking, name: str) -> None:
    async with serving([OK, OK], [OK], name=name) as server:
        assert (await client.get(server.url())).body == b"ok"
        await server.streams[0].send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert (await client.get(server.url())).body == b"ok"
        assert server.opened == 2


async def test_an_old_connection_is_closed(client: Asking, autojump_clock: trio.testing.MockClock) -> None:
    async with serving([OK, OK]) as server:
        await client.get(server.url())
        await trio.sleep(LONGEST_IDLE - 1)
        await client.get(server.url())
        assert server.opened == 1
        await trio.sleep(LONGEST_IDLE + 1)
        await client.get(server.url())
        assert server.opened == 2
        await wait_all_tasks_blocked()
        assert server.ended == 1


async def test_only_so_many_are_kept(client: Asking) -> None:
    async with serving([OK, OK]) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(MOST_KEPT + 5):
                nursery.start_soon(client.get, server.url())
        await wait_all_tasks_blocked()
        assert (server.opened, server.ended) == (MOST_KEPT + 5, 5)
        client.close()
        await wait_all_tasks_blocked()
        assert server.ended == server.opened


async def test_after_its_end_it_still_asks_and_keeps_nothing(client: Asking) -> None:
    """A reload closes it: sessions that live go on with it, and its connections would stay for good."""
    async with serving([OK, OK]) as server:
        await client.get(server.url())
        client.close()
        await client.get(server.url())
        await wait_all_tasks_blocked()
        assert (server.opened, server.ended) == (2, 2)


async def test_only_so_many_are_asked_at_once(client: Asking, autojump_clock: trio.testing.MockClock) -> None:
    """A server that hangs in a storm of logins mustn't take the descriptors that clients need."""
    late = 0

    async def ask(url: str) -> None:
        nonlocal late
        with pytest.raises(TimedOut):
            await client.get(url)
        late += 1

    async with serving([HANGS]) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(MOST_AT_ONCE + 5):
                nursery.start_soon(ask, server.url())
        assert (late, server.opened) == (MOST_AT_ONCE + 5, MOST_AT_ONCE)


# -- what goes wrong -------------------------------------------------------------------------------------

BAD = [
    b"hunter2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nhunter2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: hunter2\0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhunter2",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: hunter2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhunter2\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: hunter2\r\n\r\n",
    b"220 mail.example.org ESMTP hunter2\r\n\r\n",
    # What ends with the connection, since the server takes it for HTTP/1.0.
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX: HTTP/1.0\r\n\r\nhunter2",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: HTTP/1.0\r\n\r\n7\r\nhunter2\r\n",
    b"HTTP/1.0 200 OK\r\nX: hunter2",
]


@pytest.mark.parametrize("answer", BAD)
async def test_a_bad_answer_is_none_and_is_not_shown(client: Asking, answer: bytes) -> None:
    """The log gets the text, and an answer may hold a user's password (Auth-Pass)."""
    async with serving([answer]) as server:
        assert "hunter2" not in await fault(client, server, BadResponse)
        await wait_all_tasks_blocked()
        assert server.ended + (b"HTTP/1.0" in answer) == 1  # the connection isn't kept


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * LARGEST_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (LARGEST_HEAD // 5) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * (LARGEST_HEAD - 4) + b"\r\n\r\n",
        b"y" * (LARGEST_HEAD * 2),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"y" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\ny\r\n" * 1001 + b"0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + b"y" * 1001,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 13_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 5000 + b"\r\ny\r\n") * 100,
    ],
    ids=["header", "headers", "whole head", "no line", "length", "chunks", "to the end", "1xx", "chunk extensions"],
)
async def test_too_much_is_cut_off(client: Asking, answer: bytes) -> None:
    async with serving([answer]) as server:
        await fault(client, server, TooLarge)
        await wait_all_tasks_blocked()


async def test_what_is_just_not_too_much(client: Asking) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX: "
    async with serving([head + b"y" * (LARGEST_HEAD - 100) + b"\r\n\r\n" + b"z" * 1000]) as server:
        assert (await client.get(server.url())).body == b"z" * 1000


@pytest.mark.parametrize("answer", [HANGS, b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhunter2"])
async def test_no_answer_in_time(client: Asking, answer: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with serving([answer]) as server:
        began = trio.current_time()
        assert "hunter2" not in await fault(client, server, TimedOut)
        assert trio.current_time() - began == pytest.approx(10)
        await wait_all_tasks_blocked()
        assert server.ended == 1


@pytest.mark.parametrize(("answer", "kind"), [(b"HTTP/1.1 200 OK\r\n\r\nhunter2", BadResponse), (HANGS, Unreachable)])
async def test_a_connection_that_is_reset(client: Asking, answer: bytes, kind: type[HttpError]) -> None:
    """A body without a length ends with its connection, but not like this."""
    async with serving([answer]) as server, trio.open_nursery() as nursery:
        nursery.start_soon(fault, client, server, kind)
        await wait_all_tasks_blocked()
        (stream,) = server.streams
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)


async def test_who_is_cancelled_leaves_no_connection(client: Asking) -> None:
    async with serving([HANGS]) as server:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, server.url())
                await wait_all_tasks_blocked()
                assert server.opened == 1
                scope.cancel()
        await wait_all_tasks_blocked()
        assert server.ended == 1


async def test_nobody_listens(client: Asking) -> None:
    async with serving([OK]) as server:
        pass
    assert "Connection refused" in await fault(client, server, Unreachable)


# -- TLS -------------------------------------------------------------------------------------------------


async def test_a_certificate_for_another_name_is_refused(client: Asking) -> None:
    """Else whoever sits between gets every password."""
    async with serving([OK], name=NAME) as server:
        assert "certificate refused" in await fault(client, server, Unreachable)
        assert server.requests == []


async def test_a_certificate_of_an_unknown_ca_is_refused() -> None:
    client = Asking(ssl.create_default_context())
    async with serving([OK], name="127.0.0.1") as server:
        assert "certificate refused" in await fault(client, server, Unreachable)
        assert server.requests == []


async def test_a_server_in_clear_where_tls_is_due(client: Asking) -> None:
    async with serving([OK]) as server:
        server.secure = True
        assert "TLS failed" in await fault(client, server, Unreachable)


async def test_https_needs_a_context() -> None:
    with pytest.raises(ValueError, match="without a context"):
        await Asking().get("https://127.0.0.1:1/")
