"""One task that relays every logged-in session of the process.

It keeps an epoll set of its own, and trio waits on that set's descriptor: a session here costs two entries in the
set and no task. Each session is two legs, one a socket. What is read from one leg's socket is written to the other's
at once; what can't be written becomes that leg's backlog, and nothing more is read for it until the backlog is gone.

Rules that the code relies on:
- Level-triggered events; a leg that wants neither reading nor writing is taken out of the set, since a hang-up
  would wake it for ever.
- An event may be stale (its descriptor was closed and reused within one batch): reads and writes tolerate that.
- After the peer's end of input the other side is told so once its backlog is gone, and the session goes on in the
  other direction until that ends too.
"""

from __future__ import annotations

import select
from collections.abc import Callable

import trio

from tlsgate.relay.linger import Linger
from tlsgate.relay.relaying import Leg, Relayed, Relaying
from tlsgate.tls.stream import RECORD, WOULD_BLOCK, Stream, StreamLost

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_BUFFER = 256 * 1024
# While backlogs hold more than this in all, reads are one record each: stalled clients can't eat the memory.
_BACKLOG_BUDGET = 64 * 1024 * 1024
_EVENTS = 256
# Seconds and batches of events after which the process's other tasks get their turn.
_TURN = 0.01
_BATCHES = 8
# Octets in a batch of events behind which more are likely to be here by now; behind a few commands none are.
_BULK = 16 * 1024
_SHORTEST_TICK, _LONGEST_TICK = 0.25, 15.0
# Seconds without an octet after which a client is told of an end: it isn't in the middle of an answer.
_QUIET = 0.2
_LF = 10


class Pump:
    """Relays sessions handed to it by ``add`` while ``run`` is running."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._legs: dict[int, Leg] = {}
        self._buffer = memoryview(bytearray(_BUFFER))
        self._record = self._buffer[:RECORD]
        self._backlog = 0
        self._now = 0.0
        self._moved = 0
        self._ended = False
        self._tick = _LONGEST_TICK
        self._nap = trio.CancelScope()

    def __len__(self) -> int:
        """How many sessions are being relayed."""
        return len(self._legs) // 2

    @property
    def backlog(self) -> int:
        """Octets held for peers that don't take them yet."""
        return self._backlog

    def add(
        self,
        client: Stream,
        backend: Stream,
        *,
        to_backend: bytes,
        to_client: bytes,
        idle_timeout: float,
        on_end: Callable[[Relayed], None],
        owner: object = None,
        about: object = None,
        farewell: bytes = b"",
    ) -> None:
        """Take over a session and own its two streams.

        ``to_backend`` and ``to_client``: octets that were read already and go first. ``idle_timeout``: seconds
        without an octet either way. ``on_end`` is called once, after both sockets are closed, and must not raise.
        ``owner``: whose sessions ``end_all`` may end apart. ``about``: what ``sessions`` gives it back with.
        ``farewell``: the line by which ``dismiss`` ends it.
        """
        session = Relaying(owner, about, farewell, idle_timeout, on_end, trio.current_time())
        first, second = Leg(session, client), Leg(session, backend)
        first.other, second.other = second, first
        session.client = first
        self._legs[client.fd] = first
        self._legs[backend.fd] = second
        self._look_within(max(idle_timeout / 10, _SHORTEST_TICK))
        first.received, second.received = len(to_backend), len(to_client)
        second.last = to_client[-1] if to_client else _LF
        if self._epoll.closed:
            # The session's task was on its way here when both were cancelled.
            self._end(session, "shutdown")
            return
        try:
            if to_backend:
                self._write(second, memoryview(to_backend))
            if to_client:
                self._write(first, memoryview(to_client))
            # No octets are left in TLS that no event would tell of: dialogues read whole records.
            self._arm(first)
            self._arm(second)
        except Exception as error:  # noqa: BLE001 - as in _serve
            self._fail(session, error)

    def sessions(self) -> list[Relaying]:
        """Those that are being relayed."""
        return [leg.session for leg in self._legs.values() if leg is leg.session.client]

    def dismiss(self, session: Relaying, *, at_once: bool) -> None:
        """End a session if its client can be told, or has no farewell to be told; or ``at_once``.

        It can be told behind a whole line with nothing on its way. A literal may still stop there for a while: then its
        client sees it cut off, as by any lost connection.
        """
        if session.on_end is None:
            return
        client = session.client
        quiet = trio.current_time() - session.seen >= _QUIET
        if session.farewell and not quiet and not at_once:
            return
        if session.farewell and quiet and client.backlog is None and client.other.last == _LF and not client.tell_end:
            try:
                client.stream.write(memoryview(session.farewell))
            except StreamLost:  # nobody is left to tell
                pass
        self._end(session, "kicked")

    def end_all(self, reason: str, owner: object = None) -> None:
        """Close every session, or those of one owner."""
        for session in {leg.session for leg in self._legs.values()}:
            if owner is None or session.owner is owner:
                self._end(session, reason)

    async def run(self) -> None:
        """Relay until cancelled, then close every session."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._relay)
                nursery.start_soon(self._watch_idle)
        finally:
            self.end_all("shutdown")
            self._epoll.close()

    async def _relay(self) -> None:
        try:
            linger = Linger(self._epoll, self._take_turn)
        except LookupError:
            linger = None
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._take_turn()
                if linger is not None:
                    linger.due = True
        finally:
            if linger is not None:
                linger.close()

    def _take_turn(self) -> bool:
        """Relay what is here, for a while at most. Whether a session has ended, of which others were told."""
        poll, legs = self._epoll.poll, self._legs
        self._ended = False
        self._now = trio.current_time()
        turn_ends = self._now + _TURN
        for _ in range(_BATCHES):
            events = poll(0, _EVENTS)
            self._moved = 0
            for fd, mask in events:
                leg = legs.get(fd)
                if leg is not None:
                    self._serve(leg, mask)
            if (self._moved < _BULK and len(events) < _EVENTS) or trio.current_time() > turn_ends:
                break
        return self._ended

    async def _watch_idle(self) -> None:
        # A sweep costs 0.2 us a session and no memory; a timer each would cost both.
        while True:
            with trio.move_on_after(self._tick) as self._nap:
                await trio.sleep_forever()
            now = trio.current_time()
            for session in [leg.session for leg in self._legs.values() if leg is leg.session.client]:
                if session.seen + session.idle_timeout <= now:
                    self._end(session, "idle_timeout")

    def _look_within(self, seconds: float) -> None:
        if seconds < self._tick:
            self._tick = seconds
            self._nap.deadline = min(self._nap.deadline, trio.current_time() + seconds)

    def _serve(self, leg: Leg, mask: int) -> None:
        session = leg.session
        session.seen = self._now
        try:
            if mask != _IN and (leg.backlog is not None or leg.tell_end):
                self._flush(leg)
            if not leg.ended and leg.other.backlog is None and mask != _OUT:
                self._read(leg)
        except Exception as error:  # noqa: BLE001 - a fault in one session must not end the others; its log line says it
            self._fail(session, error)

    def _read(self, leg: Leg) -> None:
        """Take what the leg's peer has sent to the other leg's. Raises StreamLost."""
        buffer = self._buffer if self._backlog < _BACKLOG_BUDGET else self._record
        count = leg.stream.read_into(buffer)
        if count > 0:
            leg.received += count
            self._moved += count
            leg.last = buffer[count - 1]
            self._write(leg.other, buffer[:count])
            if leg.stream.at_end:
                self._input_ended(leg)
        elif count != WOULD_BLOCK:
            self._input_ended(leg)

    def _write(self, leg: Leg, data: memoryview) -> None:
        """Write to the leg's peer, which has no backlog, and keep what doesn't go now. Raises StreamLost."""
        count = leg.stream.write(data)
        if count == len(data):
            return
        leg.backlog = memoryview(bytes(data[count:]))
        self._backlog += len(leg.backlog)
        self._arm(leg)
        self._arm(leg.other)

    def _flush(self, leg: Leg) -> None:
        """Write more of the backlog, and the end when it is due. Raises StreamLost."""
        backlog = leg.backlog
        if backlog is not None:
            count = leg.stream.write(backlog)
            self._backlog -= count
            if count < len(backlog):
                leg.backlog = backlog[count:]
                return
            leg.backlog = None
        if leg.tell_end:
            self._tell_end(leg)
        self._arm(leg)
        self._arm(leg.other)

    def _input_ended(self, leg: Leg) -> None:
        leg.ended = True
        other = leg.other
        if other.ended and leg.backlog is None and other.backlog is None:
            who = "client" if leg is leg.session.client else "backend"
            self._end(leg.session, f"{who} closed")
        elif other.backlog is None:
            self._tell_end(other)
            self._arm(leg)
        else:
            other.tell_end = True
            self._arm(leg)

    def _tell_end(self, leg: Leg) -> None:
        """The other side's input has ended and all of it is written: carry that over, now or when there is room."""
        leg.stream.end_writing()
        leg.tell_end = leg.stream.end_due
        if leg.tell_end:
            self._arm(leg)
        elif leg.ended and leg.backlog is None and leg.other.backlog is None:
            self._end(leg.session, "both closed")

    def _arm(self, leg: Leg) -> None:
        """Make the epoll set say what the leg wants."""
        if leg.session.on_end is None:
            return
        reads = not leg.ended and leg.other.backlog is None
        mask = (_IN if reads else 0) | (_OUT if leg.backlog is not None or leg.tell_end else 0)
        if mask == leg.mask:
            return
        if leg.mask == 0:
            self._epoll.register(leg.stream.fd, mask)
        elif mask == 0:
            self._epoll.unregister(leg.stream.fd)
        else:
            self._epoll.modify(leg.stream.fd, mask)
        leg.mask = mask

    def _fail(self, session: Relaying, error: Exception) -> None:
        self._end(session, error.reason if isinstance(error, StreamLost) else f"fault: {type(error).__name__}")

    def _end(self, session: Relaying, reason: str) -> None:
        on_end, session.on_end = session.on_end, None
        if on_end is None:
            return
        client, backend = session.client, session.client.other
        for leg in (client, backend):
            if leg.backlog is not None:
                self._backlog -= len(leg.backlog)
                leg.backlog = None
            if leg.mask:
                self._epoll.unregister(leg.stream.fd)
            del self._legs[leg.stream.fd]
        if not client.stream.end_told:
            client.stream.end_writing()
        client.stream.close()
        backend.stream.close()
        self._ended = True
        on_end(Relayed(client.received, backend.received, reason))
