"""What an admin wants of a worker: the parent passes it on."""

from __future__ import annotations

from typing import Any

import msgspec

from tlsgate.ops.session_view import Wanted
from tlsgate.serving import Serving
from tlsgate.workers.messages import Done, Order

SESSIONS, KICK, POOL = "sessions", "kick", "pool"
LONGEST = 150_000  # less than any packet socket takes at once
_encode = msgspec.msgpack.Encoder().encode


async def carry_out(order: Order, serving: Serving) -> Done:
    """Do what the parent orders. What can't be read, or told in one packet, is answered by None: no session ends by
    it."""
    try:
        done = Done(order.id, await _answer(order, serving))
    except ValueError:
        return Done(order.id, None)
    return done if len(_encode(done)) <= LONGEST else Done(order.id, None)


async def _answer(order: Order, serving: Serving) -> Any:
    match order.what:
        case "sessions":
            return await serving.live.page(msgspec.convert(order.argument, Wanted))
        case "kick":
            return await serving.live.kick(msgspec.convert(order.argument, Wanted))
        case "pool":
            return serving.pool(order.argument)
        case _:
            raise ValueError("no such order")
