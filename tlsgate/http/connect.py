"""A new connection to an origin, over TLS where it is https."""

from __future__ import annotations

import ssl
from pathlib import Path

from tlsgate.backends import stream as wire
from tlsgate.backends.faults import BackendFault
from tlsgate.http.message import Origin, Unreachable
from tlsgate.tls.stream import Stream, StreamLost


def client_context(ca: Path | None = None) -> ssl.SSLContext:
    """For https: TLS 1.2 at least, certificate and name checked, by the CA file or the system's CAs.

    Raises OSError (an SSLError where the file holds no certificate). Reads files: not for the trio loop.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    return context


async def connect(origin: Origin, context: ssl.SSLContext | None) -> Stream:
    """A connection that stands, over TLS with this ``context``, or in clear without one. Raises Unreachable."""
    stream: Stream | None = None
    whole = False
    try:
        stream = await wire.connect(origin.address)
        await wire.connected(stream)
        if context is not None:
            stream = secured = wire.BackendTlsStream(stream.socket, context, origin.address.host)
            await secured.handshake()
        whole = True
    except BackendFault as fault:
        raise Unreachable(fault.text) from None
    except StreamLost as lost:
        raise Unreachable(f"TLS failed: {lost.reason}") from None
    finally:
        if stream is not None and not whole:
            stream.close()
    return stream
