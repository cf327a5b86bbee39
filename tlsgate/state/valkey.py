"""The store of several replicas of tlsgate: counts, rates and records in a Valkey (or Redis) server.

While there is no server, calls are answered at once, by [state] when_down. Then places are counted exactly and the
server is told when it is back; what rates and records this replica notes meanwhile stays its own. Not for a cluster of
servers: keys aren't kept in one slot.
"""

from __future__ import annotations

from collections.abc import Iterable

from tlsgate.config import WhenDown
from tlsgate.state.call import Down, octets, record, versioned, whole
from tlsgate.state.conversation import Conversation
from tlsgate.state.memory import Memory
from tlsgate.state.server import Server
from tlsgate.state.store import STATE_DOWN, Place, StateTrace


class ValkeyStore(Conversation):
    """A Store over a server; works while its ``run`` does. ``when_down`` may be replaced."""

    def __init__(self, server: Server, when_down: WhenDown, trace: StateTrace) -> None:
        super().__init__(server, trace)
        self.when_down = when_down
        self._alone = Memory()  # rates and records, for when there is no server

    async def enter(self, places: Iterable[Place]) -> Place | None:
        """As of a Store; STATE_DOWN when there is no server and nobody may enter then."""
        places = tuple(places)
        flat = [each for place in places for each in place]
        keys = tuple(place.key for place in places)
        answer = await self.ask("enter", *flat, valid=whole(len(places)), keys=keys)
        if isinstance(answer, int):
            return places[answer - 1] if answer else None
        return STATE_DOWN if self._refuses else self._held.enter(places)

    async def spend(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
        """As of a Store."""
        answer = await self.ask("spend", key, count, _milliseconds(seconds), amount, valid=whole(1))
        if answer == 0 or (answer is Down.DOWN and self._refuses):
            return False
        alone = self._alone.spend_now(key, count, seconds, amount)
        return answer == 1 or alone

    async def read(self, key: str) -> bytes | None:
        """As of a Store."""
        answer = await self.ask("read", key, valid=record)
        if answer is Down.DOWN and not self._refuses:
            return self._alone.read_now(key)
        return answer if isinstance(answer, bytes) else None

    async def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        """As of a Store; without a server nobody else is there to be in the way."""
        packed = [None if each is None else octets(each) for each in (old, new)]
        answer = await self.ask("swap", key, *packed, _milliseconds(seconds), valid=whole(1))
        if answer is Down.DOWN and not self._refuses:
            return await self._alone.swap(key, old, new, seconds)
        if answer == 0:
            return False
        return await self._alone.swap(key, self._alone.read_now(key), new, seconds)

    async def exchange_bans(self, seen: int, bans: list[bytes]) -> tuple[int, list[bytes]] | None:
        """Put bans, packed as shared.lua says; and have those that changed after version ``seen``, or win over ours.

        Gives the version to ask with next. None when there is no server.
        """
        answer = await self.ask("bans", seen, [octets(each) for each in bans], valid=versioned)
        return (answer[0], answer[1:]) if isinstance(answer, list) else None

    @property
    def _refuses(self) -> bool:
        return self.when_down is WhenDown.REFUSE


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
