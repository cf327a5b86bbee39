"""Reading the PROXY header of a connection that a load balancer has passed on: no octet behind it is taken."""

from __future__ import annotations

import socket

from tlsgate.dialogue.events import NeedData, RemoteProtocolError
from tlsgate.dialogue.proxy import LONGEST_PAYLOAD, ProxyHeader, read_header
from tlsgate.tls.lost import Expired
from tlsgate.tls.waits import READABLE, waits

_LONGEST = 16 + LONGEST_PAYLOAD


class NoProxyHeader(Exception):
    """No header came, or none that is one. ``reason`` is a short text of ours, fit for a log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def take_header(connected: socket.socket, deadline: float) -> ProxyHeader:
    """The header, taken off a non-blocking socket, which stays open whatever happens. Raises NoProxyHeader.

    ``deadline``: of trio's clock.
    """
    fd = connected.fileno()
    waits().expire(fd, deadline)
    try:
        return await _take(connected)
    except RemoteProtocolError as error:
        raise NoProxyHeader(str(error)) from None
    except Expired:
        raise NoProxyHeader("no PROXY header in time") from None
    except OSError as error:
        raise NoProxyHeader(error.strerror or "connection lost") from None
    finally:
        waits().forget(fd)


async def _take(connected: socket.socket) -> ProxyHeader:
    taken = b""
    while True:
        await waits().wait(connected.fileno(), READABLE)
        try:
            ahead = connected.recv(_LONGEST, socket.MSG_PEEK)
        except BlockingIOError:  # a stale event
            continue
        if not ahead:
            raise NoProxyHeader("closed before its PROXY header was whole")
        header = read_header(taken + ahead)
        if not isinstance(header, NeedData):
            connected.recv(header.taken - len(taken))
            return header
        # All of it is the header's; and what is taken doesn't wake us again.
        taken += connected.recv(len(ahead))
