"""The PROXY header that begins a connection to a backend whose pool has client_address = "proxy-v1" or "proxy-v2"."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from tlsgate.config import ClientAddress
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.proxy import proxy_v1, proxy_v2

BEGINS = (ClientAddress.PROXY_V1, ClientAddress.PROXY_V2)


def proxy_header(how: ClientAddress, client: ClientFacts | None, connected: socket.socket) -> bytes:
    """The header for a client; None: for a probe of ours. ``connected``: to the backend. Raises OSError."""
    if how is ClientAddress.PROXY_V2:
        if client is None:
            return proxy_v2(None, None)
        return proxy_v2(client.source, client.destination, client.session.encode())
    if client is None:  # not as UNKNOWN, which Postfix refuses
        return proxy_v1(endpoint(connected.getsockname()), endpoint(connected.getpeername()))
    return proxy_v1(client.source, client.destination)


def endpoint(name: object) -> Endpoint | None:
    """A socket's name as one end of a TCP connection; None for a unix socket's."""
    match name:
        case (str(host), int(port), *_):
            return Endpoint(ip_address(host), port)
        case _:
            return None
