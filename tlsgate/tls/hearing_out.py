"""The end of a connection whose peer is still sending.

To close a socket over octets that nobody has read is a reset (RFC 1122 4.2.2.13): the peer's sending fails, and what
was said to it last is lost.
"""

from __future__ import annotations

import socket

import trio

from tlsgate.tls.lost import Expired
from tlsgate.tls.stream import RECORD, Stream

_LONGEST = 1.0  # seconds
_MOST = 64 * 1024
_dropped = bytearray(RECORD)


async def hear_out(stream: Stream) -> None:
    """End writing; if more than was read is here, drop it and what follows until the peer ends, within bounds."""
    stream.end_writing()
    connected, left = stream.socket, _MOST
    try:
        while left > 0:
            try:
                count = connected.recv_into(_dropped)
            except BlockingIOError:
                if left == _MOST:  # it isn't sending
                    return
                await stream.wait_readable()
                continue
            if not count:
                return
            if left == _MOST:
                connected.shutdown(socket.SHUT_WR)  # it may wait for that before it ends
                stream.expires(trio.current_time() + _LONGEST)
            left -= count
    except (Expired, OSError):
        pass
