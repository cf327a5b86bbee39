"""One message's look-ups: begun while it streams, awaited at its end, and never for longer than is granted."""

from __future__ import annotations

import math
from ipaddress import IPv4Address

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.dns_server import SERVFAIL, DnsServer, Reply, has
from tests.mail.surbl.told import ZONE, Told, lists
from tlsgate.dns import Answer, Kind
from tlsgate.mail.surbl.lists import Listed
from tlsgate.mail.surbl.look_ups import LinkLookUps, SurblListing


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


def listed(site: str, answer: str = "127.0.0.8", zone: str = ZONE) -> Listed:
    return Listed(site, zone, IPv4Address(answer))


async def test_all_sites_at_all_zones(server: DnsServer, nursery: trio.Nursery) -> None:
    """The listing is in the message's order, whichever answer comes first."""
    held = trio.Event()
    server.says(f"example.com.{ZONE}", "A", Reply(records=("127.0.0.8",), held=held))
    server.says("example.com.other.example", "A", has("127.0.0.2"))
    server.says(f"example.org.{ZONE}", "A", has("127.0.0.64"))
    told = Told()
    asked = LinkLookUps(lists(server, told, ZONE, "other.example"), nursery)
    asked.ask(("example.com", "example.net"))
    asked.ask(("example.org", "example.com"))
    await wait_all_tasks_blocked(0.05)
    held.set()
    found = await asked.listing(math.inf)
    assert found == SurblListing(
        (
            listed("example.com"),
            listed("example.com", "127.0.0.2", "other.example"),
            listed("example.org", "127.0.0.64"),
        )
    )
    assert told.results.total() == 6
    asked.cancel()


async def test_questions_are_asked_before_the_message_has_ended(server: DnsServer, nursery: trio.Nursery) -> None:
    asked = LinkLookUps(lists(server, Told()), nursery)
    asked.ask(("example.com",))
    with trio.fail_after(5):
        while not server.asked:
            await wait_all_tasks_blocked(0.01)
    asked.cancel()


async def test_a_message_without_links_waits_for_nothing(server: DnsServer, nursery: trio.Nursery) -> None:
    asked = LinkLookUps(lists(server, Told()), nursery)
    asked.ask(())
    assert await asked.listing(math.inf) == SurblListing()
    asked.cancel()
    assert server.asked == []


async def test_no_more_than_some_are_asked_at_a_time(server: DnsServer, nursery: trio.Nursery) -> None:
    """One message must not fill the resolver's room."""
    held = trio.Event()
    server.everything = Reply(records=("127.0.0.8",), held=held)
    asked = LinkLookUps(lists(server, Told()), nursery)
    asked.ask([f"n{n}.example.com" for n in range(100)])
    with trio.fail_after(5):
        while len(server.asked) < 16:
            await wait_all_tasks_blocked(0.01)
    await wait_all_tasks_blocked(0.05)
    assert len(server.asked) == 16
    held.set()
    assert len((await asked.listing(math.inf)).listed) == 100
    asked.cancel()


async def test_an_answer_that_takes_too_long_is_none(server: DnsServer, nursery: trio.Nursery) -> None:
    """What was heard by then counts."""
    server.says(f"example.com.{ZONE}", "A", Reply(held=trio.Event()))
    server.says(f"example.net.{ZONE}", "A", has("127.0.0.8"))
    asked = LinkLookUps(lists(server, Told(), timeout=60), nursery)
    asked.ask(("example.com", "example.net"))
    with trio.fail_after(5):
        found = await asked.listing(trio.current_time() + 0.3)
    assert found == SurblListing((listed("example.net"),), (ZONE,))
    asked.cancel()


async def test_a_zone_that_fails_is_unknown_once(server: DnsServer, nursery: trio.Nursery) -> None:
    server.everything = SERVFAIL
    asked = LinkLookUps(lists(server, Told()), nursery)
    asked.ask(("example.com", "example.net"))
    assert await asked.listing(math.inf) == SurblListing((), (ZONE,))
    asked.cancel()


async def test_when_it_is_cancelled_nothing_is_left(server: DnsServer) -> None:
    """Before it begins, and under way: the nursery is free at once."""
    server.everything = Reply(held=trio.Event())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for under_way in (False, True):
                asked = LinkLookUps(lists(server, Told(), timeout=60), nursery)
                asked.ask(("example.com",))
                if under_way:
                    await wait_all_tasks_blocked(0.05)
                asked.cancel()


async def test_a_fault_of_ours_is_told_and_says_nothing(
    server: DnsServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not end the sessions that share a nursery."""
    told = Told()
    searched = lists(server, told)

    async def fails(name: str, kind: Kind) -> Answer:
        raise ExceptionGroup("", [ZeroDivisionError()])

    monkeypatch.setattr(searched._resolver, "ask", fails)
    asked = LinkLookUps(searched, nursery)
    asked.ask(("example.com",))
    assert await asked.listing(math.inf) == SurblListing((), (ZONE,))
    assert told.faults == [("surbl", "ZeroDivisionError")]
    asked.cancel()
