"""One message's links, from its octets to the listing: others have their turn, and no fault reaches the session."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.dns_server import DnsServer, Reply, has
from tests.mail.surbl.told import ZONE, Told
from tlsgate.mail.surbl import Links, Listed, MessageLinks, Scanner, Site, Suffixes, SurblListing

_LISTED = SurblListing((Listed("example.com", ZONE, IPv4Address("127.0.0.8")),))


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    served = await DnsServer().serve(nursery)
    served.says(f"example.com.{ZONE}", "A", has("127.0.0.8"))
    return served


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


def shared(server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes | None) -> tuple[Links, Told]:
    told = Told()
    links = Links((ZONE,), server.resolver(60.0), told, nursery, 3.0)
    links.suffixes = suffixes
    return links, told


@pytest.mark.parametrize("length", [1, 7, 1000])
async def test_stuffed_dots_hide_nothing(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes, length: int
) -> None:
    """Neither a link that a dot is stuffed into, nor a header's end or a field that one hides."""
    message = b".Content-Transfer-Encoding: quoted-printable\r\n\r\nsee http://www.exam=\r\n.ple=\r\n..com/\r\n"
    links = MessageLinks(shared(server, nursery, suffixes)[0])
    for at in range(0, len(message), length):
        await links.feed(message[at : at + length])
    assert await links.listing() == _LISTED
    links.cancel()


async def test_a_link_is_asked_about_while_the_message_streams(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes
) -> None:
    links = MessageLinks(shared(server, nursery, suffixes)[0])
    await links.feed(b"\r\nhttp://www.example.com/\r\n" + b"text\r\n" * 3000)
    with trio.fail_after(5):
        while not server.questions(f"example.com.{ZONE}"):
            await wait_all_tasks_blocked(0.01)
    links.cancel()


async def test_the_end_waits_for_no_more_than_the_time_out(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes, clock: MockClock
) -> None:
    """It runs from the end on, however long the message took."""
    server.everything = Reply(held=trio.Event())
    links = MessageLinks(shared(server, nursery, suffixes)[0])
    await links.feed(b"\r\nhttp://www.example.com/\r\n" + b"text\r\n" * 3000)
    clock.jump(30)
    found: list[SurblListing] = []

    async def wait() -> None:
        found.append(await links.listing())

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        clock.jump(2.5)
        await wait_all_tasks_blocked()
        assert not found
        clock.jump(1)
    assert found == [SurblListing(unknown=(ZONE,))]
    links.cancel()


async def test_nothing_is_under_way_behind_a_cancel(server: DnsServer, suffixes: Suffixes) -> None:
    """A client that is gone in the middle of its message leaves nothing that goes on asking."""
    server.everything = Reply(held=trio.Event())
    with trio.fail_after(5):
        async with trio.open_nursery() as asking:
            links = MessageLinks(shared(server, asking, suffixes)[0])
            await links.feed(b"\r\nhttp://www.example.com/\r\n" + b"text\r\n" * 3000)
            await wait_all_tasks_blocked()
            links.cancel()
            links.cancel()
            await links.feed(b"http://www.example.org/ ")
            assert await links.listing() == SurblListing()


async def test_before_the_suffixes_are_there_nothing_is_asked(server: DnsServer, nursery: trio.Nursery) -> None:
    links = MessageLinks(shared(server, nursery, None)[0])
    await links.feed(b"\r\nhttp://www.example.com/\r\n")
    assert await links.listing() == SurblListing()
    assert links.beyond
    links.cancel()
    assert server.asked == []


@pytest.mark.parametrize(
    ("message", "beyond"),
    [
        (b"\r\nhello\r\n", False),
        (b"Content-Type: multipart/mixed\r\n\r\nhello\r\n", True),
        (b"Content-Transfer-Encoding: (\r\n", True),
        (b"\r\n" + b"hello\r\n" * 200_000, True),
    ],
)
async def test_links_that_may_have_been_missed_are_told(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes, message: bytes, beyond: bool
) -> None:
    """Whoever hides links from us by odd headers should be seen in the log: behind the end, and behind a cancel too."""
    links = MessageLinks(shared(server, nursery, suffixes)[0])
    await links.feed(message)
    await links.listing()
    assert links.beyond is beyond
    links.cancel()
    assert links.beyond is beyond


@pytest.mark.parametrize("length", [100, 9000, 16_384, 300_000])
async def test_others_have_their_turn(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """In one round of trio's loop no more than 8 KiB are scanned, whatever segments they come in."""
    scanned = [0]
    real = Scanner.feed

    def feed(self: Scanner, data: bytes) -> tuple[Site, ...]:
        scanned[-1] += len(data)
        return real(self, data)

    class Rounds(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            scanned.append(0)

    monkeypatch.setattr(Scanner, "feed", feed)
    links = MessageLinks(shared(server, nursery, suffixes)[0])
    message = b"\r\n" + b"text\r\n" * 50_000
    rounds = Rounds()
    trio.lowlevel.add_instrument(rounds)
    for at in range(0, len(message), length):
        await links.feed(message[at : at + length])
    trio.lowlevel.remove_instrument(rounds)
    links.cancel()
    assert sum(scanned) == len(message)
    assert max(scanned) <= 8192


@pytest.mark.parametrize("method", ["feed", "finish"])
async def test_a_fault_of_the_scanner_is_told_once_and_the_message_passes(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fails(self: Scanner, *data: bytes) -> tuple[Site, ...]:
        raise ZeroDivisionError("a stranger's words")

    links_of_all, told = shared(server, nursery, suffixes)
    links = MessageLinks(links_of_all)
    await links.feed(b"\r\nhttp://www.example.com/\r\n" + b"text\r\n" * 1000)
    monkeypatch.setattr(Scanner, method, fails)
    await links.feed(b"text\r\n" * 10_000)
    await links.feed(b"text\r\n")
    assert await links.listing() == SurblListing()
    assert told.faults == [("surbl", "ZeroDivisionError")]
    assert links.beyond
    links.cancel()
