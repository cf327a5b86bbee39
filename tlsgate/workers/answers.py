"""The parent's side of a worker's admission: answers what it asks, and knows what it holds.

A worker talks to strangers. What it says is checked for its form, and it gives back only what it holds. When it has
died, all that it held is free again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.admission.network import ClientAddress, parse_client
from tlsgate.state.store import Place
from tlsgate.workers.messages import Ask, Tell

# What is under way at once for one session, and for what isn't a session: probes of backends.
_A_SESSION, _BESIDE = 4, 1000
_COUNTED_FOR_WORKERS = ("user ", "backend ")  # the others are the door's
_MOST_SPENT = 1_000_000
_LONGEST_RECORD = 65_536


class Answers:
    """For one worker. ``entries``: its connections by their handles. ``on_left`` is called after each that ends."""

    def __init__(self, gatehouse: Gatehouse, on_left: Callable[[], None]) -> None:
        self.entries: dict[int, Entry] = {}
        self._gatehouse = gatehouse
        self._on_left = on_left
        self._held: Counter[str] = Counter()
        self._most_sessions = 0
        self._asked = 0
        self._handshakes: set[int] = set()
        self._under_way: Counter[ClientAddress] = Counter()
        self._gone = False

    def enter(self, handle: int, entry: Entry) -> None:
        """A connection is handed to it."""
        self.entries[handle] = entry
        self._most_sessions = max(self._most_sessions, len(self.entries))

    async def answer(self, ask: Ask) -> Any:
        """The answer. Raises ValueError for what no worker of ours asks."""
        if self._asked >= self._most:
            raise ValueError("more questions than sessions")
        self._asked += 1
        try:
            return await self._answer(ask)
        finally:
            self._asked -= 1

    async def _answer(self, ask: Ask) -> Any:
        store, penalties = self._gatehouse.store, self._gatehouse.penalties
        match ask.what:
            case "enter":
                return await self._enter(*_as(ask, tuple[list[tuple[str, int]]]))
            case "handshake":
                return await self._handshake(*_as(ask, tuple[float]))
            case "before_login":
                host, user, waited = _as(ask, tuple[str, str, bool])
                return await self._before_login(parse_client(host), user, waited)
            case "failed":
                host, name, shown = _as(ask, tuple[str, str | None, bytes])
                return await penalties.failed(parse_client(host), name, shown)
            case "logged_in":
                host, user = _as(ask, tuple[str, str])
                return await penalties.logged_in(parse_client(host), user)
            case "spend":
                key, count, seconds, amount = _as(ask, tuple[str, int, float, int])
                if not 0 < amount <= _MOST_SPENT:
                    raise ValueError("an amount that nobody spends")
                return await store.spend(key, count, seconds, amount)
            case "read":
                return await store.read(*_as(ask, tuple[str]))
            case "swap":
                key, old, new, seconds = _as(ask, tuple[str, bytes | None, bytes | None, float])
                if len(new or b"") > _LONGEST_RECORD:
                    raise ValueError("a record that nobody keeps")
                return await store.swap(key, old, new, seconds)
            case _:
                raise ValueError("no such question")

    def hear(self, tell: Tell) -> None:
        """It tells something. Raises ValueError for what no worker of ours tells."""
        match tell.what:
            case "leave":
                (keys,) = _as(tell, tuple[list[str]])
                self._leave(keys)
            case "handshake_over":
                (place,) = _as(tell, tuple[int])
                if place in self._handshakes:
                    self._handshakes.remove(place)
                    self._gatehouse.handshakes.leave(place)
            case "ended":
                self._ended(parse_client(*_as(tell, tuple[str])))
            case _:
                raise ValueError("no such news")

    def left(self, handle: int) -> None:
        """One of its connections is closed."""
        if (entry := self.entries.pop(handle, None)) is not None:
            self._gatehouse.door.leave(entry)
            self._on_left()

    def release(self) -> None:
        """The worker has ended: everything that it held is free."""
        self._gone = True
        for handle in list(self.entries):
            self.left(handle)
        self._leave(list(self._held.elements()))
        for place in self._handshakes:
            self._gatehouse.handshakes.leave(place)
        self._handshakes.clear()
        for client in list(self._under_way.elements()):
            self._ended(client)

    @property
    def _most(self) -> int:
        return _A_SESSION * self._most_sessions + _BESIDE

    async def _enter(self, wanted: list[tuple[str, int]]) -> str | None:
        if not all(key.startswith(_COUNTED_FOR_WORKERS) for key, _ in wanted):
            raise ValueError("a place that is the door's")
        if self._held.total() + len(wanted) > self._most:
            raise ValueError("more places than sessions")
        places = [Place(key, limit) for key, limit in wanted]
        if (full := await self._gatehouse.store.enter(places)) is not None:
            return full.key
        self._held.update(place.key for place in places)
        if self._gone:
            self.release()
        return None

    async def _before_login(self, client: ClientAddress, user: str, waited: bool) -> float | None:
        delay = await self._gatehouse.penalties.before_login(client, user, waited)
        if delay == 0.0:
            self._under_way[client] += 1
            if self._gone:
                self.release()
        return delay

    def _ended(self, client: ClientAddress) -> None:
        if self._under_way[client] > 0:
            self._under_way[client] -= 1
            self._gatehouse.penalties.ended(client)
        if not self._under_way[client]:
            del self._under_way[client]

    async def _handshake(self, seconds: float) -> int:
        if place := await self._gatehouse.handshakes.enter(trio.current_time() + seconds):
            self._handshakes.add(place)
            if self._gone:
                self.release()
        return place

    def _leave(self, keys: list[str]) -> None:
        held = self._held
        for key in keys:
            if (count := held.get(key, 0)) > 1:
                held[key] = count - 1
            elif count:
                del held[key]
            if count:
                self._gatehouse.store.leave((key,))


def _as(message: Ask | Tell, form: Any) -> Any:
    return msgspec.convert(message.arguments, form)
