"""``python -m tests.tls.groups CHAIN KEY``: what clients get who have one group only, in a process that begins as the
gateway does. (A test's has begun OpenSSL long before, without our file.)"""

from __future__ import annotations

import tlsgate.cli.run  # noqa: F401 - first of all, as there

# isort: split
import json
import ssl
import sys
from contextlib import suppress
from pathlib import Path

from OpenSSL import SSL

from tlsgate.config import Protocol, Tls
from tlsgate.tls.contexts import ServerContexts


def meet(contexts: ServerContexts, group: str, version: ssl.TLSVersion) -> int:
    """How many octets the server sends behind its handshake; -1 if it refuses. The client is of another OpenSSL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ecdh_curve(group)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = SSL.Connection(contexts.choose(Protocol.IMAP, None), None)
    server.set_accept_state()
    for _ in range(5):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        server.bio_write(to_server.read())
        try:
            server.do_handshake()
            return len(server.bio_read(65536))
        except SSL.WantReadError:
            to_client.write(server.bio_read(65536))
        except SSL.Error:
            return -1
    raise AssertionError("the handshake doesn't end")


def favourite(contexts: ServerContexts) -> str | None:
    """The group that is agreed on with a client that is like us."""
    server = SSL.Connection(contexts.choose(Protocol.IMAP, None), None)
    server.set_accept_state()
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_connect_state()
    for end, other in ((client, server), (server, client), (client, server)):
        with suppress(SSL.WantReadError):
            end.do_handshake()
        other.bio_write(end.bio_read(65536))
    return client.get_group_name()


if __name__ == "__main__":
    pair = Tls(certificate=Path(sys.argv[1]), private_key=Path(sys.argv[2]))
    contexts = ServerContexts(pair, [Protocol.IMAP])
    found: dict[str, object] = {"favourite": favourite(contexts)}
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        found[version.name] = {group: meet(contexts, group, version) for group in sys.argv[3:]}
    print(json.dumps(found))
