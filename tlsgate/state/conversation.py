"""The one task of a replica that talks to the server of the shared state.

What is asked while it waits for an answer goes together with the next request, so a flood costs few round trips.
Places that this replica holds are counted here as well, exactly; the server is told counts, not changes. Whenever an
answer is lost or makes no sense the connection is given up and a new *incarnation* begins, which voids all that the
last one had said or may still say, and says every count again (see shared.lua). So nothing is counted twice, whatever
was lost, and a server that lost its data has it back.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import msgspec
import trio

from tlsgate.state.call import Call, Down, octets
from tlsgate.state.held import Held
from tlsgate.state.link import Link, LinkFault, connect
from tlsgate.state.server import Server
from tlsgate.state.store import StateTrace

_LEASE = 10_000  # ms after which the counts of a replica that says nothing are void
_HEARTBEAT = 1.0  # the lease is renewed, and the bans' version read
_AGAIN = 3.0  # some counts are said again
_ATTEMPT = 1.0  # from one attempt to connect to the next
_WAIT = 0.5  # a call's longest wait for its turn; its answer may take as long again
_COMPANY = 0.05  # how long a place given back waits for a call to go with
_MOST_CALLS = 256
_MOST_COUNTS = 1000
_KEY_LENGTH = 32
_NONSENSE = "an answer makes no sense"


class _Lost(Exception):
    """The server doesn't know this incarnation (any more). Nothing was done."""


class Conversation:
    """``run`` is to be started in a task. ``up``: whether the server is asked.

    ``hash_key``: what secrets are hashed with before they are compared, the same for all replicas as soon as there
    was a server: read it whenever it is needed. ``changed`` is called when ``incarnation`` or ``bans_version`` has.
    """

    def __init__(self, server: Server, trace: StateTrace) -> None:
        self.up = False
        self.hash_key = secrets.token_bytes(_KEY_LENGTH)
        self.incarnation = 0
        self.bans_version = 0
        self.changed: Callable[[], None] = lambda: None
        self._server = server
        self._trace = trace
        # A thread of its own: look-ups that hang would take all of trio's.
        self._looking_up = trio.CapacityLimiter(1)
        self._replica = secrets.token_hex(8)
        self._held = Held()
        self._queue: deque[Call] = deque()
        self._sent: list[Call] = []
        self._work, self._asked = trio.Event(), trio.Event()
        self._told_down = False
        self._next_again = 0.0

    # -- what others need ---------------------------------------------------------------------------

    async def ask(
        self, name: str, *arguments: object, valid: Callable[[object], bool], keys: tuple[str, ...] = ()
    ) -> object:
        """The answer to one call, within a second; Down.DOWN when there is none. Arguments as of Call."""
        if not self.up:
            return Down.DOWN
        call = Call(msgspec.Raw(_pack((name, *arguments))), valid, keys)
        self._queue.append(call)
        self._work.set()
        self._asked.set()
        try:
            await call.done.wait()
        except trio.Cancelled:
            call.abandoned = True
            raise
        return call.answer

    def leave(self, keys: Iterable[str]) -> None:
        """Give places back: the server is told, sooner or later."""
        self._held.leave(keys)
        self._work.set()

    def used(self, key: str) -> int:
        """How many places at ``key`` this replica has taken."""
        return self._held.used(key)

    # -- the task -----------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep in touch with the server until it is cancelled. Reports when there was a first attempt."""
        try:
            await self._converse(task_status.started)
        finally:
            if self.incarnation and not self._told_down:
                await self._farewell()

    async def _converse(self, report: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                began = trio.current_time()
                try:
                    link = await connect(self._server, nursery, self._looking_up)
                    try:
                        await self._begin(link)
                        self._rise()
                        report()
                        report = _done
                        await self._serve(link)
                    finally:
                        link.close()
                        self._release()
                except LinkFault as fault:
                    self._fall(str(fault))
                report()
                report = _done
                await trio.sleep_until(began + _ATTEMPT)

    async def _farewell(self) -> None:
        """Free our places at once instead of at the lease's end: our clients come back, to others or to our successor.

        Over a connection of its own, since the tasks of the last one are cancelled.
        """
        with trio.move_on_after(_WAIT, shield=True):
            async with trio.open_nursery() as nursery:
                with suppress(LinkFault):
                    link = await connect(self._server, nursery, self._looking_up)
                    try:
                        await link.evaluate(_pack((self._replica, self.incarnation, False, 1, octets(b""), (), ())))
                    finally:
                        link.close()
                nursery.cancel_scope.cancel()

    async def _begin(self, link: Link) -> None:
        """Begin an incarnation: say every count."""
        self.incarnation += 1
        self._held.doubt_all()
        try:
            await self._exchange(link, begins=True)
            for _ in range(len(self._held) // _MOST_COUNTS):
                await self._exchange(link)
        except _Lost:
            raise LinkFault("the server forgets at once") from None
        self.changed()

    async def _serve(self, link: Link) -> None:
        while True:
            await self._pause()
            now = trio.current_time()
            if now >= self._next_again:
                self._held.doubt_some()
                self._next_again = now + _AGAIN
            self._take(now)
            try:
                await self._exchange(link, self._sent)
            except _Lost:
                await self._begin(link)
                try:
                    await self._exchange(link, self._sent)
                except _Lost:
                    raise LinkFault("the server forgets at once") from None

    async def _pause(self) -> None:
        """Until there is something to say."""
        if self._queue:
            return
        self._work, self._asked = trio.Event(), trio.Event()
        if not self._held.untold:
            with trio.move_on_after(_HEARTBEAT):
                await self._work.wait()
        if self._held.untold and not self._queue:
            with trio.move_on_after(_COMPANY):
                await self._asked.wait()

    def _take(self, now: float) -> None:
        while self._queue and len(self._sent) < _MOST_CALLS:
            call = self._queue.popleft()
            if not call.abandoned:
                self._sent.append(call)
        if self._sent and now - self._sent[0].since > _WAIT:
            raise LinkFault("answers take too long")

    async def _exchange(self, link: Link, calls: Sequence[Call] = (), begins: bool = False) -> None:
        """Say counts, ask and settle. Raises LinkFault, _Lost."""
        told = self._held.tell(_MOST_COUNTS)
        operations = [call.operation for call in calls]
        answer = await link.evaluate(
            _pack((self._replica, self.incarnation, begins, _LEASE, octets(self.hash_key), told, operations))
        )
        match answer:
            case [0]:
                raise _Lost
            case [1, int(version), bytes(key), *answers] if len(answers) == len(operations):
                pass
            case _:
                raise LinkFault(_NONSENSE)
        if begins:
            if len(key) != _KEY_LENGTH:
                raise LinkFault("the shared key makes no sense")
            self.hash_key = key
        if calls:
            self._settle(answers)
        if version != self.bans_version:
            self.bans_version = version
            self.changed()

    def _settle(self, answers: list[object]) -> None:
        sent, self._sent = self._sent, []
        if not all(call.valid(answer) for call, answer in zip(sent, answers, strict=True)):
            self._sent = sent
            raise LinkFault(_NONSENSE)
        for call, answer in zip(sent, answers, strict=True):
            if call.keys and answer == 0:
                if call.abandoned:
                    self._held.doubt(call.keys)
                else:
                    self._held.grant(call.keys)
            call.answer = answer
            call.done.set()

    def _rise(self) -> None:
        self.up = True
        self._told_down = False
        self._trace.state_up()

    def _release(self) -> None:
        """Nothing is asked until the next incarnation stands; who waits has no answer."""
        self.up = False
        for call in (*self._sent, *self._queue):
            call.done.set()
        self._sent = []
        self._queue.clear()

    def _fall(self, reason: str) -> None:
        self._trace.state_fault(reason)
        if not self._told_down:
            self._told_down = True
            self._trace.state_down(reason)


_pack = msgspec.msgpack.Encoder().encode


def _done() -> None:
    """Instead of a report that was made."""
