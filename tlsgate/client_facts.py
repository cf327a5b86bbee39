"""What a session tells a backend of its client."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

from tlsgate.admission.network import ClientAddress
from tlsgate.backends.proxy_header import endpoint
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.smtp import Smtp


def client_facts(
    client: ClientAddress,
    port: int,
    destination: Endpoint | None,
    connected: socket.socket,
    session: str,
    dialogue: Imap | Pop3 | Smtp,
) -> ClientFacts:
    """The facts of a client that shows its credentials in ``dialogue``.

    ``destination``: where it was told to be, None for ``connected``'s own end. ``session``: the log's id of it.
    """
    if not client.version:
        source = destination = None
    else:
        source = Endpoint((IPv4Address if client.version == 4 else IPv6Address)(client.value), port)
        destination = destination or endpoint(connected.getsockname())
    return ClientFacts(
        source,
        destination,
        session,
        helo=dialogue.client_name if isinstance(dialogue, Smtp) else "",
        esmtp=dialogue.esmtp if isinstance(dialogue, Smtp) else True,
        id_fields=dialogue.client_id if isinstance(dialogue, Imap) else (),
    )
