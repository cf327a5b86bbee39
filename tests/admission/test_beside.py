"""Checks beside the handshake: their results, and that none outlives its session."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from tlsgate.admission.beside import Beside


async def test_the_result_is_there_before_and_after_it_is_asked_for(nursery: trio.Nursery) -> None:
    go = trio.Event()

    async def check() -> int:
        await go.wait()
        return 7

    beside = Beside(nursery, check, otherwise=0)
    found: list[int] = []

    async def wait() -> None:
        found.append(await beside.result())

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        assert (found, beside.now) == ([], 0)
        go.set()
    assert found == [7, 7]
    assert await beside.result() == beside.now == 7


async def test_a_session_that_ends_ends_its_check(nursery: trio.Nursery) -> None:
    beside = Beside(nursery, trio.sleep_forever, otherwise=None)
    await wait_all_tasks_blocked()
    beside.cancel()
    await beside.result()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_a_wait_that_is_cancelled_leaves_the_check_alone(nursery: trio.Nursery) -> None:
    go = trio.Event()

    async def check() -> str:
        await go.wait()
        return "found"

    beside = Beside(nursery, check, otherwise="")
    with trio.move_on_after(0.01) as wait:
        await beside.result()
    assert wait.cancelled_caught
    go.set()
    assert await beside.result() == "found"


async def test_nobody_waits_for_a_check_whose_nursery_is_gone() -> None:
    async with trio.open_nursery() as nursery:
        beside = Beside(nursery, trio.sleep_forever, otherwise=None)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with trio.fail_after(1):
        await beside.result()


async def test_nor_for_one_that_never_began() -> None:
    """The nursery was cancelled before the task had its first turn."""
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.cancel()
        beside = Beside(nursery, trio.sleep_forever, otherwise=None)
    with trio.fail_after(1):
        await beside.result()
