"""A session that is being relayed: two legs, one a socket."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tlsgate.tls.stream import Stream


class Relayed(Struct, frozen=True):
    """How a relayed session ended: octets read from the client and from the backend, and why."""

    up: int
    down: int
    reason: str


class Leg:
    """One socket of a session.

    ``backlog`` waits to be written to it, and behind that, with ``tell_end``, the other side's end. ``ended``: no more
    will be read from it. ``last``: the octet that was read last.
    """

    __slots__ = ("backlog", "ended", "last", "mask", "other", "received", "session", "stream", "tell_end")

    other: Leg

    def __init__(self, session: Relaying, stream: Stream) -> None:
        self.session = session
        self.stream = stream
        self.backlog: memoryview | None = None
        self.ended = False
        self.tell_end = False
        self.mask = 0
        self.received = self.last = 0


class Relaying:
    """A session that is being relayed. ``about``: whatever its owner knows it by."""

    __slots__ = ("about", "client", "farewell", "idle_timeout", "on_end", "owner", "seen")

    client: Leg

    def __init__(
        self,
        owner: object,
        about: object,
        farewell: bytes,
        idle_timeout: float,
        on_end: Callable[[Relayed], None],
        now: float,
    ) -> None:
        self.owner = owner
        self.about = about
        self.farewell = farewell
        self.idle_timeout = idle_timeout
        self.on_end: Callable[[Relayed], None] | None = on_end
        self.seen = now

    @property
    def octets(self) -> tuple[int, int]:
        """Octets that were read so far, from the client and from the backend."""
        return self.client.received, self.client.other.received
