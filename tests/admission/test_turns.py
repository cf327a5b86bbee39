"""Turns: each attempt that ends lets one more go on, the one that has waited longest."""

from __future__ import annotations

import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from tlsgate.admission.turns import Turns


async def test_who_waits_is_woken_one_by_one_in_order() -> None:
    """To wake all of them at each end would cost a network of many phones the square of their number."""
    turns, woken = Turns(), list[int]()

    async def wait(number: int) -> None:
        await turns.change("network")
        woken.append(number)

    turns.begin("network")
    turns.begin("network")
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(wait, number)
            await wait_all_tasks_blocked()
        turns.end("network")
        await wait_all_tasks_blocked()
        assert woken == [0]
        turns.end("network")
        await wait_all_tasks_blocked()
        assert woken == [0, 1]
        turns.end("network")
    assert woken == [0, 1, 2]


async def test_a_turn_of_somebody_who_gives_up_is_the_next_ones() -> None:
    """Else an attempt that is cut off as it is woken would leave the next ones waiting for nobody."""
    turns = Turns()
    given_up = trio.CancelScope()

    async def give_up() -> None:
        with given_up:
            await turns.change("network")

    turns.begin("network")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await wait_all_tasks_blocked()
        nursery.start_soon(turns.change, "network")
        await wait_all_tasks_blocked()
        given_up.cancel()
        turns.end("network")
        with trio.fail_after(1):
            await wait_all_tasks_blocked()
    assert turns.under_way("network") == 0


async def test_two_that_are_woken_at_once_lose_nobody() -> None:
    """Who looks, finds no room and waits again would be forgotten with the last one of those it waited with."""
    turns, done = Turns(), list[int]()

    async def wait_twice(number: int) -> None:
        await turns.change("network")
        await turns.change("network")
        done.append(number)

    for _ in range(5):
        turns.begin("network")
    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(wait_twice, number)
            await wait_all_tasks_blocked()
        turns.end("network")
        turns.end("network")
        await wait_all_tasks_blocked()
        turns.end("network")
        turns.end("network")
        with trio.fail_after(1):
            while len(done) < 2:
                await trio.lowlevel.checkpoint()
    assert sorted(done) == [0, 1]
