"""A connection that was let in, on its way to a session: perhaps to one in another process."""

from __future__ import annotations

import socket

from msgspec import Struct

from tlsgate.dialogue.client import Endpoint


class Arrival(Struct, frozen=True):
    """Its socket and who the client is.

    ``destination``: where it arrived as a PROXY header tells it, None for the socket's own address. ``waited``: seconds
    since the accept.
    """

    socket: socket.socket
    host: str
    port: int
    destination: Endpoint | None = None
    waited: float = 0.0
