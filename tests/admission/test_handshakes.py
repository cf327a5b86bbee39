"""Places for handshakes: first come first served, and none is lost or taken twice, however who waits goes away."""

from __future__ import annotations

import math
import random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tlsgate.admission.handshakes import Handshakes

pytestmark = pytest.mark.timeout(30)


class Queue:
    """Tasks that wait for places. ``inside``: who has one, in the order in which they came to it."""

    def __init__(self, handshakes: Handshakes, nursery: trio.Nursery) -> None:
        self.handshakes = handshakes
        self.inside: list[str] = []
        self.refused: list[str] = []
        self.scopes: dict[str, trio.CancelScope] = {}
        self.places: dict[str, int] = {}
        self._nursery = nursery

    async def come(self, *names: str, deadline: float = math.inf) -> None:
        for name in names:
            self._nursery.start_soon(self._wait, name, deadline)
            await wait_all_tasks_blocked()

    async def _wait(self, name: str, deadline: float) -> None:
        with trio.CancelScope() as self.scopes[name]:
            place = await self.handshakes.enter(deadline)
            (self.inside if place else self.refused).append(name)
            if place:
                self.places[name] = place

    def leave(self, name: str = "") -> None:
        """One of those inside leaves, or the one that has been there for longest."""
        self.handshakes.leave(self.places.pop(name or next(iter(self.places))))

    async def go(self, name: str = "") -> None:
        """The same, and all that follows."""
        self.leave(name)
        await wait_all_tasks_blocked()


@pytest.fixture
def queue(nursery: trio.Nursery) -> Queue:
    return Queue(Handshakes(1), nursery)


async def test_first_come_first_served(queue: Queue) -> None:
    await queue.come("first", "second", "third")
    assert queue.inside == ["first"]
    await queue.go()
    await queue.come("fourth")
    assert queue.inside == ["first", "second"]
    for _ in range(3):
        await queue.go()
    assert queue.inside == ["first", "second", "third", "fourth"]
    assert queue.handshakes.used == 0


async def test_nobody_overtakes_who_was_just_woken(queue: Queue) -> None:
    """The place is theirs before they run: a newcomer in the same turn waits."""
    await queue.come("first", "second")
    queue.leave()
    await queue.come("third")
    assert queue.inside == ["first", "second"]
    assert queue.handshakes.used == 1
    await queue.go()
    await queue.go()


async def test_who_waits_too_long_is_told_so(autojump_clock: MockClock, queue: Queue) -> None:
    await queue.come("first", "second", deadline=trio.current_time() + 5)
    await trio.sleep(4)
    assert queue.refused == []
    await trio.sleep(2)
    assert queue.refused == ["second"]
    await queue.go()
    assert queue.handshakes.used == 0
    await queue.come("third", deadline=trio.current_time() - 1)
    assert queue.inside == ["first", "third"]


async def test_who_is_cancelled_while_waiting_keeps_no_place(queue: Queue) -> None:
    await queue.come("first", "second", "third")
    queue.scopes["second"].cancel()
    await wait_all_tasks_blocked()
    await queue.go()
    assert queue.inside == ["first", "third"]
    await queue.go()
    assert queue.handshakes.used == 0


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_to_be_woken_and_cancelled_at_once_loses_no_wake_up(queue: Queue, cancelled_first: bool) -> None:
    """Whoever is behind would wait for its whole greeting time in front of a free place."""
    await queue.come("first", "second", "third")
    acts = [queue.scopes["second"].cancel, queue.leave]
    for act in acts if cancelled_first else acts[::-1]:
        act()
    await wait_all_tasks_blocked()
    if "second" in queue.inside:  # it has the place, and gives it back as it ends
        await queue.go()
    assert queue.inside[-1] == "third"
    assert queue.handshakes.used == 1
    await queue.go()
    assert queue.handshakes.used == 0


async def test_who_stalls_makes_room_for_those_who_wait_and_for_no_others(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A few hundred who say half a ClientHello would keep everybody out, for ten seconds and again."""
    queue = Queue(Handshakes(3), nursery)
    await queue.come("stalls", "stalls too")
    await trio.sleep(5)
    queue.handshakes.sweep()
    assert queue.handshakes.used == 2  # nobody waits for these places
    await queue.come("new", "waits")
    queue.handshakes.sweep()
    await wait_all_tasks_blocked()
    assert queue.inside == ["stalls", "stalls too", "new", "waits"]
    assert queue.handshakes.used == 3  # the other one that stalls has its place still
    await queue.come("waits too", "waits for long")
    await trio.sleep(0.9)
    queue.handshakes.sweep()
    await wait_all_tasks_blocked()
    assert queue.inside[-1] == "waits too"  # a place that was taken just now isn't given on
    assert queue.handshakes.used == 3
    await queue.go("stalls")
    assert queue.inside[-1] == "waits too"  # who has lost a place doesn't give back another's
    for name in ("stalls too", "new", "waits", "waits too", "waits for long"):
        await queue.go(name)
    assert queue.handshakes.used == 0


async def test_a_higher_limit_is_for_those_who_wait_too(queue: Queue) -> None:
    """It is raised because they wait; else they pass one by one until nobody waits any more."""
    await queue.come("first", "second", "third", "fourth")
    queue.handshakes.limit = 3
    await wait_all_tasks_blocked()
    assert set(queue.inside) == {"first", "second", "third"}  # woken in one turn, they run in any order
    for _ in range(4):
        await queue.go()
    assert queue.inside[-1] == "fourth"
    assert queue.handshakes.used == 0


async def test_a_lower_limit_is_reached_as_places_come_back(nursery: trio.Nursery) -> None:
    queue = Queue(Handshakes(3), nursery)
    await queue.come("first", "second", "third", "fourth")
    queue.handshakes.limit = 1
    await queue.go()
    await queue.go()
    assert queue.inside == ["first", "second", "third"]
    await queue.go()
    assert queue.inside[-1] == "fourth"
    assert queue.handshakes.used == 1
    await queue.go()


@pytest.mark.parametrize("sweeps", [False, True])
@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_the_count_is_exact(autojump_clock: MockClock, seed: int, sweeps: bool) -> None:
    """500 clients come, wait, stall, give up and are cut, while the limit and who has the places change."""
    dice, handshakes = random.Random(seed), Handshakes(4)
    inside = most = served = 0

    async def client() -> None:
        nonlocal inside, most, served
        await trio.sleep(dice.uniform(0, 20))
        with trio.move_on_after(dice.choice((0.5, 3.0, math.inf))):
            if place := await handshakes.enter(trio.current_time() + dice.choice((0.0, 1.0, 30.0))):
                inside += 1
                most = max(most, inside)
                try:
                    await trio.sleep(dice.choice((0.0, 0.1, 1.0)))
                    served += 1
                finally:
                    inside -= 1
                    handshakes.leave(place)

    async with trio.open_nursery() as clients:
        for _ in range(500):
            clients.start_soon(client)
        for limit in (1, 6, 2, 8):
            await trio.sleep(4)
            handshakes.limit = limit
            if sweeps:
                handshakes.sweep()
    assert handshakes.used == inside == 0
    assert most <= 8 or sweeps
    assert served > 50
