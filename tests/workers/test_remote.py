"""What a worker asks its parent, and what becomes of an answer that nobody waits for any more."""

from __future__ import annotations

from typing import Any, cast

import trio
from trio.testing import wait_all_tasks_blocked

from tlsgate.workers.channel import Channel
from tlsgate.workers.messages import Answer
from tlsgate.workers.remote import Link


class Deaf:
    """A channel that takes what is sent."""

    def send(self, data: bytes, *_more: object) -> None: ...


async def test_an_answer_that_comes_as_its_asker_is_cancelled_is_undone() -> None:
    """A place that was taken for it would be counted until the worker ends: a user locked out for days."""
    link, undone = Link(cast(Channel, Deaf())), list[Any]()
    scope = trio.CancelScope()

    async def ask() -> None:
        with scope:
            await link.ask("enter", undo=undone.append)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        scope.cancel()
        link.answer(Answer(0, 7))
    assert undone == [7]


async def test_an_answer_that_comes_later_is_undone() -> None:
    link, undone = Link(cast(Channel, Deaf())), list[Any]()
    with trio.move_on_after(0.01):
        await link.ask("enter", undo=undone.append)
    link.answer(Answer(0, 7))
    assert undone == [7]
