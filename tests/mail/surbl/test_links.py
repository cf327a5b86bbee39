"""What messages share: lists are tested and suffixes loaded whatever goes wrong, and nobody's session ends for it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.dns_server import DnsServer, has
from tests.mail.surbl.told import ZONE, Told, healthy
from tlsgate.dns import Answer, Kind, Resolver
from tlsgate.mail.surbl import Links, Suffixes


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


def links(resolver: Resolver, nursery: trio.Nursery, *zones: str) -> tuple[Links, Told]:
    told = Told()
    return Links(zones or (ZONE,), resolver, told, nursery, 5.0), told


async def _loaded(shared: Links) -> None:
    with trio.fail_after(5):
        while shared.suffixes is None:
            await wait_all_tasks_blocked(0.01)


async def test_watched_until_it_is_stopped(server: DnsServer, nursery: trio.Nursery) -> None:
    """A list that lists everybody is off before the first message is asked about."""
    server.everything = has("127.0.0.2")
    shared, told = links(server.resolver(), nursery)
    assert shared.suffixes is None
    with trio.fail_after(5):
        async with trio.open_nursery() as watching:
            watching.start_soon(shared.watch)
            await shared.tested()
            assert [zone for zone, _ in told.off] == [ZONE]
            await _loaded(shared)
            await wait_all_tasks_blocked()
            assert watching.child_tasks
            shared.stop()
    assert told.faults == []


async def test_whoever_waits_for_the_test_is_freed_by_a_stop(server: DnsServer, nursery: trio.Nursery) -> None:
    """A start that is given up, and a reload right behind a start."""
    shared, _ = links(server.resolver(), nursery)
    shared.stop()
    with trio.fail_after(5):
        await shared.watch()
        await shared.tested()


async def test_only_the_same_lists_are_served(server: DnsServer, nursery: trio.Nursery) -> None:
    shared, _ = links(server.resolver(), nursery, ZONE, "other.example", ZONE)
    assert shared.serves((ZONE, "other.example"))
    assert shared.serves((ZONE, "other.example", ZONE))
    assert not shared.serves((ZONE,))
    assert not shared.serves(("other.example", ZONE))


async def test_a_fault_of_a_test_is_told_and_the_test_made_again(
    server: DnsServer, nursery: trio.Nursery, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nursery is the listeners' too. The list stays as it was."""
    resolver = server.resolver()
    real = resolver.ask

    async def fails(name: str, kind: Kind) -> Answer:
        raise ZeroDivisionError("a stranger's words")

    monkeypatch.setattr(resolver, "ask", fails)
    shared, told = links(resolver, nursery)
    nursery.start_soon(shared.watch)
    with trio.fail_after(5):
        await shared.tested()
    assert told.faults == [("surbl", "ZeroDivisionError")]
    assert told.off == []
    monkeypatch.setattr(resolver, "ask", real)
    await wait_all_tasks_blocked()
    clock.jump(60)
    with trio.fail_after(5):
        while not told.off:
            await wait_all_tasks_blocked(0.01)
    shared.stop()


async def test_a_fault_that_comes_with_the_stop_is_told_too(
    server: DnsServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled and the fault are then in one group, which is no Exception while it is under way."""
    resolver = server.resolver()

    async def fails(name: str, kind: Kind) -> Answer:
        try:
            await trio.sleep_forever()
        finally:
            if name.startswith("invalid."):
                raise ZeroDivisionError
        raise AssertionError

    monkeypatch.setattr(resolver, "ask", fails)
    shared, told = links(resolver, nursery)
    with trio.fail_after(5):
        async with trio.open_nursery() as watching:
            watching.start_soon(shared.watch)
            await _loaded(shared)
            await wait_all_tasks_blocked()
            shared.stop()
    assert told.faults == [("surbl", "ZeroDivisionError")]


async def test_suffixes_that_fail_to_load_are_loaded_later(
    server: DnsServer, nursery: trio.Nursery, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the lists are tested all the same, and the start doesn't wait."""
    healthy(server)

    async def fails() -> Suffixes:
        raise OSError("disk")

    real = Suffixes.load
    monkeypatch.setattr(Suffixes, "load", fails)
    shared, told = links(server.resolver(), nursery)
    nursery.start_soon(shared.watch)
    with trio.fail_after(5):
        await shared.tested()
    await wait_all_tasks_blocked(0.01)
    assert told.faults == [("surbl", "OSError")]
    assert shared.suffixes is None
    monkeypatch.setattr(Suffixes, "load", real)
    clock.jump(60)
    await _loaded(shared)
    shared.stop()
