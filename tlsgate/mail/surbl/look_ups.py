"""One message's sites, looked up while it still streams."""

from __future__ import annotations

import math
from collections.abc import Iterable

import trio
from msgspec import Struct

from tlsgate.admission.dnsbl import Result
from tlsgate.mail.surbl.lists import Listed, SurblLists, tell_fault
from tlsgate.mail.surbl.site import Site

_PARALLEL = 16  # questions of one message


class SurblListing(Struct, frozen=True):
    """``listed``: in the order of the message's sites; ``unknown``: zones that had no answer about some site."""

    listed: tuple[Listed, ...] = ()
    unknown: tuple[str, ...] = ()


class LinkLookUps:
    """Asks about sites in a task of ``nursery``, which may outlive the message: whoever began it must ``cancel`` it."""

    def __init__(self, lists: SurblLists, nursery: trio.Nursery) -> None:
        self._lists = lists
        self._nursery = nursery
        self._questions, self._asked = trio.open_memory_channel[tuple[Site, str]](math.inf)
        self._answers: dict[tuple[Site, str], Listed | Result | None] = {}
        self._begun = False
        self._done = trio.Event()
        self._scope = trio.CancelScope()

    def ask(self, sites: Iterable[Site]) -> None:
        """Ask about them too; the scanner bounds how many there are. Never behind ``listing`` or ``cancel``."""
        for site in sites:
            for zone in self._lists.zones:
                if (site, zone) not in self._answers:
                    self._answers[site, zone] = None
                    self._questions.send_nowait((site, zone))
        if self._answers and not self._begun:
            self._begun = True
            self._nursery.start_soon(self._run)

    async def listing(self, before: float) -> SurblListing:
        """All sites are known: wait for what is under way, and not beyond ``before``, by trio's clock."""
        self._questions.close()
        if self._begun:
            with trio.move_on_at(before):
                await self._done.wait()
        listed = tuple(each for each in self._answers.values() if isinstance(each, Listed))
        missed = (None, Result.TIMEOUT, Result.FAILED)
        unknown = dict.fromkeys(zone for (_, zone), answer in self._answers.items() if answer in missed)
        return SurblListing(listed, tuple(unknown))

    def cancel(self) -> None:
        """Nobody needs it any more."""
        self._scope.cancel()
        self._questions.close()
        if not self._begun:
            self._asked.close()

    async def _run(self) -> None:
        try:
            with self._scope, self._asked:
                room = trio.Semaphore(_PARALLEL)
                async with trio.open_nursery() as nursery:
                    async for question in self._asked:
                        await room.acquire()
                        nursery.start_soon(self._answer, question, room)
        finally:
            self._done.set()

    async def _answer(self, question: tuple[Site, str], room: trio.Semaphore) -> None:
        self._answers[question] = await self._safely(*question)
        room.release()

    async def _safely(self, site: Site, zone: str) -> Listed | Result:
        """What a stranger has in the DNS must never end more than its own check."""
        try:
            return await self._lists.look_up(site, zone)
        except Exception as fault:  # noqa: BLE001 - the log has it
            tell_fault(self._lists.trace, fault)
            return Result.FAILED
