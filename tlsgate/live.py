"""The sessions that live in this process: those that have a task of their own, and those that the pump relays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio

from tlsgate.admission.network import BITS, parse_client, parse_network
from tlsgate.ops.session_view import Page, Wanted, chosen
from tlsgate.ops.trace import SessionTrace
from tlsgate.relay import Pump, Relaying
from tlsgate.session import Session

_A_TURN = 500  # sessions that are looked at before others have theirs
# Seconds for which a session that is to end may find a moment in which its client can be told, and how often we look.
_PATIENCE, _TICK = 2.0, 0.1

Living = tuple[SessionTrace, Session | Relaying]


class Live:
    """Who lives. Relayed sessions are only in the pump: here they cost nothing."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._running: dict[SessionTrace, Session] = {}

    def __len__(self) -> int:
        return len(self._running) + len(self._pump)

    async def run(self, trace: SessionTrace, session: Session) -> None:
        """Run a session, which is listed until it has ended or the pump has it."""
        self._running[trace] = session
        try:
            await session.run()
        finally:
            del self._running[trace]

    async def page(self, wanted: Wanted) -> Page:
        """Those that are wanted. Raises ValueError: ``wanted.client`` is no prefix."""
        found = await self._find(wanted)
        octets = {trace: trace.octets(*living.octets) for trace, living in found}
        page, following = chosen(found, wanted, lambda each: (each[0].session_id, sum(octets[each[0]])))
        return Page([trace.described(*octets[trace]) for trace, _ in page], len(found), following)

    async def kick(self, wanted: Wanted) -> int:
        """End those that are wanted, on whatever page; gives how many. Raises ValueError as ``page``.

        Returns when they have ended or, where one waits for something else than its client, its connection has.
        """
        left = {trace for trace, _ in await self._find(wanted)}
        count, late = len(left), trio.current_time() + _PATIENCE
        while left:
            at_once = trio.current_time() >= late
            here = [(trace, living) for trace, living in self._all() if trace in left]
            for _, living in here:
                if isinstance(living, Relaying):
                    self._pump.dismiss(living, at_once=at_once)
                else:
                    living.dismiss(at_once=at_once)
            if at_once:
                break
            await trio.sleep(_TICK)
            left = {trace for trace, _ in here} & {trace for trace, _ in self._all()}
        return count

    def _all(self) -> Iterator[Living]:
        for relaying in self._pump.sessions():
            if isinstance(relaying.about, SessionTrace):
                yield relaying.about, relaying
        yield from self._running.items()

    async def _find(self, wanted: Wanted) -> list[Living]:
        user, within = wanted.user.casefold(), _within(wanted.client)
        found: list[Living] = []
        for number, each in enumerate(list(self._all())):
            if number % _A_TURN == _A_TURN - 1:
                await trio.lowlevel.checkpoint()
            trace = each[0]
            if (
                (not wanted.id or trace.session_id == wanted.id)
                and (not wanted.listener or trace.listener == wanted.listener)
                and (not user or (trace.user or "").casefold() == user)
                and (within is None or within(trace.client))
            ):
                found.append(each)
        return found


def _within(prefix: str) -> Callable[[str], bool] | None:
    """Whether a client is in a prefix; None for ""."""
    if not prefix:
        return None
    network, _ = parse_network(prefix)
    rest = BITS[network.version] - network.length

    def within(client: str) -> bool:
        address = parse_client(client)
        return address.version == network.version and address.value >> rest == network.value >> rest

    return within
