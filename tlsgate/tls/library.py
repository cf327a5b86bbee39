"""Settings of OpenSSL that pyOpenSSL has no call for: a file that OpenSSL reads once, when it is first used.

One session ticket, not two (RFC 8446 4.6.1): each costs a write and a wake-up at the client, 3 % of a login. A mail
client gets a new one with each connection. An administrator's own OPENSSL_CONF stays in force in place of ours, and
the standard library's OpenSSL, which speaks to backends, has read its own by then.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

_VARIABLE = "OPENSSL_CONF"


def _load() -> str:
    before = os.environ.get(_VARIABLE)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if before is None:
        os.environ[_VARIABLE] = str(Path(__file__).with_name("openssl.cnf"))
    try:
        from OpenSSL import SSL

        SSL.Context(SSL.TLS_SERVER_METHOD)
        return SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    finally:
        if before is None:
            del os.environ[_VARIABLE]


VERSION = _load()
"""The OpenSSL that clients' TLS runs on."""
