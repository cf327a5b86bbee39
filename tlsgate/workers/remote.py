"""A worker's admission: every question goes to the parent, which counts for all workers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import trio

from tlsgate.admission.network import ClientAddress
from tlsgate.state.store import Place
from tlsgate.workers.channel import Channel
from tlsgate.workers.messages import UNANSWERED, Answer, Ask, Tell, ToParent

_encode = msgspec.msgpack.Encoder().encode


class _Question:
    """``undo``: what to do with the answer when nobody waits for it any more."""

    __slots__ = ("answered", "undo", "value")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.undo: Callable[[Any], None] | None = None
        self.value: Any = None


class Link:
    """Questions to the parent and its answers."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._questions: dict[int, _Question] = {}
        self._ids = itertools.count()

    def send(self, message: ToParent) -> None:
        """Send a message."""
        self._channel.send(_encode(message))

    def tell(self, what: str, *arguments: object) -> None:
        """Tell the parent's admission something."""
        self.send(Tell(what, arguments))

    def ask_and_go(self, what: str, *arguments: object) -> None:
        """Ask what may take its time, and wait for nothing."""
        self.send(Ask(UNANSWERED, what, arguments))

    async def ask(self, what: str, *arguments: object, undo: Callable[[Any], None] | None = None) -> Any:
        """The answer to a question. ``undo`` is given an answer that comes when the asker was cancelled."""
        question, number = _Question(), next(self._ids)
        self._questions[number] = question
        self.send(Ask(number, what, arguments))
        try:
            await question.answered.wait()
        except trio.Cancelled:
            if not question.answered.is_set():
                question.undo = undo
            elif undo is not None:  # it came between the cancelling and us
                undo(question.value)
            raise
        return question.value

    def answer(self, answer: Answer) -> None:
        """An answer has come."""
        question = self._questions.pop(answer.id)
        question.value = answer.value
        if question.undo is not None:
            question.undo(answer.value)
        question.answered.set()


class RemoteStore:
    """The parent's store."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def enter(self, places: Iterable[Place]) -> Place | None:
        places = tuple(places)
        keys = [place.key for place in places]

        def undo(full: str | None) -> None:
            if full is None:
                self.leave(keys)

        full = await self._link.ask("enter", places, undo=undo)
        return None if full is None else next((place for place in places if place.key == full), Place(full, 0))

    def leave(self, keys: Iterable[str]) -> None:
        self._link.tell("leave", list(keys))

    async def spend(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
        return bool(await self._link.ask("spend", key, count, seconds, amount))

    async def read(self, key: str) -> bytes | None:
        record: bytes | None = await self._link.ask("read", key)
        return record

    async def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        return bool(await self._link.ask("swap", key, old, new, seconds))


class RemotePenalties:
    """The parent's penalties."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def before_login(self, client: ClientAddress, user: str, waited: bool = False) -> float | None:
        def undo(delay: float | None) -> None:
            if delay == 0.0:
                self.ended(client)

        delay: float | None = await self._link.ask("before_login", str(client), user, waited, undo=undo)
        return delay

    def ended(self, client: ClientAddress) -> None:
        self._link.tell("ended", str(client))

    async def failed(self, client: ClientAddress, user: str | None, shown: bytes) -> None:
        await self._link.ask("failed", str(client), user, shown)

    async def logged_in(self, client: ClientAddress, user: str) -> None:
        self._link.ask_and_go("logged_in", str(client), user)


class RemoteHandshakes:
    """The parent's places for handshakes."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def enter(self, deadline: float) -> int:
        def undo(place: int) -> None:
            if place:
                self.leave(place)

        return int(await self._link.ask("handshake", deadline - trio.current_time(), undo=undo))

    def leave(self, place: int) -> None:
        self._link.tell("handshake_over", place)
