"""What the parent process and a worker say to each other, one value a packet.

A connection's descriptor travels beside its message. ``id``: which answer belongs to which question.
"""

from __future__ import annotations

from typing import Any

import msgspec

UNANSWERED = -1


class _Message(msgspec.Struct, frozen=True, array_like=True, tag_field="t"):
    """Tagged by a short name; a field that a peer leaves out or adds is an error, not a guess."""


# -- to a worker ------------------------------------------------------------------------------------------


class Connection(_Message, frozen=True, array_like=True, tag="c"):
    """Serve this connection. ``standing``: of admission's Standing."""

    handle: int
    listener: str
    host: str
    port: int
    standing: int
    destination: tuple[str, int] | None
    waited: float


class Answer(_Message, frozen=True, array_like=True, tag="a"):
    """The answer to an Ask."""

    id: int
    value: Any


class Retire(_Message, frozen=True, array_like=True, tag="r"):
    """No more connections will come; end when those that are here have. Sessions of ``listeners`` (None: of all) end
    in ``seconds``."""

    listeners: tuple[str, ...] | None
    seconds: float


class Report(_Message, frozen=True, array_like=True, tag="p"):
    """Say what was counted; who doesn't answer for a while is held to hang."""


class Order(_Message, frozen=True, array_like=True, tag="o"):
    """What an admin wants of the sessions and pools here; ``what`` is a call of workers/orders."""

    id: int
    what: str
    argument: Any


# -- to the parent ----------------------------------------------------------------------------------------


class Ready(_Message, frozen=True, array_like=True, tag="y"):
    """Connections may come."""


class Ask(_Message, frozen=True, array_like=True, tag="q"):
    """A question that admission answers; ``what`` is a call of the desk. ``id``: UNANSWERED when nobody waits."""

    id: int
    what: str
    arguments: tuple[Any, ...]


class Tell(_Message, frozen=True, array_like=True, tag="l"):
    """What is done as it is heard, in order; ``what`` is a call of the desk that never waits."""

    what: str
    arguments: tuple[Any, ...]


class Left(_Message, frozen=True, array_like=True, tag="x"):
    """A connection is closed."""

    handle: int


class Counted(_Message, frozen=True, array_like=True, tag="n"):
    """What was counted so far, as ops/metrics dumps it."""

    dumped: bytes


class Done(_Message, frozen=True, array_like=True, tag="d"):
    """The answer to an Order."""

    id: int
    value: Any


ToWorker = Connection | Answer | Retire | Report | Order
ToParent = Ready | Ask | Tell | Left | Counted | Done
