"""Server contexts from the config: one for each protocol and name, chosen by the name in the ClientHello.

A context of its own for each has two effects wanted here: the minimum version holds for each name (OpenSSL takes it
from the context that a connection began with, not from one swapped in later), and a session ticket is worth nothing
at a listener of another protocol or under another name of the config (RFC 6066 3; OpenSSL doesn't check the name by
itself). A used context is never changed: a reload makes new ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from OpenSSL import SSL

from tlsgate.config import Protocol, Tls, TlsVersion
from tlsgate.tls.certificate import Certificate, CertificateFault, load_certificate

# Mozilla's "intermediate" lists (version 5.7), without the DHE suites that need parameters of their own.
_TLS13_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
_TLS12_CIPHERS = b":".join(
    (
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
    )
)
_VERSIONS = {TlsVersion.TLS1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS1_3: SSL.TLS1_3_VERSION}
# Options and modes of OpenSSL's that pyOpenSSL has no name for.
_PRIORITIZE_CHACHA = 1 << 21  # SSL_OP_PRIORITIZE_CHACHA
_IGNORE_UNEXPECTED_EOF = 1 << 7  # SSL_OP_IGNORE_UNEXPECTED_EOF
_PARTIAL_WRITE = 1  # SSL_MODE_ENABLE_PARTIAL_WRITE: cleared, a whole buffer in one call costs a quarter less
_ALPN = {Protocol.IMAP: b"imap", Protocol.POP3: b"pop3", Protocol.SUBMISSION: b"smtp", Protocol.MX: b"smtp"}


class ForeignProtocol(Exception):
    """The client's ALPN offers only protocols that aren't spoken here (ALPACA)."""


class ServerContexts:
    """Every context that the listeners need. Raises CertificateFault with all faults, one a line.

    Reads files: not for the trio loop.
    """

    def __init__(self, tls: Tls, protocols: Sequence[Protocol]) -> None:
        faults: list[str] = []
        pairs: list[tuple[tuple[str, ...], Path, Path, TlsVersion]] = []
        pairs += [((), tls.certificate, tls.private_key, tls.minimum_version)]
        pairs += [
            (s.hostnames, s.certificate, s.private_key, s.minimum_version or tls.minimum_version) for s in tls.sni
        ]
        self.certificates: list[Certificate] = []
        self._contexts: dict[Protocol, dict[str, SSL.Context]] = {protocol: {} for protocol in protocols}
        for names, path, key_path, minimum in pairs:
            try:
                certificate = load_certificate(path, key_path)
                self.certificates.append(certificate)
                for protocol in protocols:
                    for name in names or ("",):
                        asked = None if protocol is Protocol.MX else tls.client_ca
                        context = _context(certificate, minimum, protocol, asked)
                        self._contexts[protocol].setdefault(name.lower(), context)
            except CertificateFault as fault:
                faults.append(str(fault))
        if faults:
            raise CertificateFault("\n".join(faults))
        self.by_name = bool(tls.sni)

    def choose(self, protocol: Protocol, server_name: str | None) -> SSL.Context:
        """The context for a client's server name: exact, then "*." in place of its first label, then the default."""
        contexts = self._contexts[protocol]
        if server_name:
            name = server_name.lower().rstrip(".")
            wildcard = "*." + name.partition(".")[2]
            return contexts.get(name) or contexts.get(wildcard) or contexts[""]
        return contexts[""]


def _context(certificate: Certificate, minimum: TlsVersion, protocol: Protocol, client_ca: Path | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[minimum])
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # Our order, but a client that puts ChaCha20 first has no AES in hardware (a phone) and gets what it asks for.
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA)
    # A client that ends TCP's stream without close_notify still gets its replies: mail commands frame themselves.
    context.set_options(_IGNORE_UNEXPECTED_EOF)
    context.set_cipher_list(_TLS12_CIPHERS)
    context.set_tls13_ciphersuites(_TLS13_CIPHERS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(_PARTIAL_WRITE)
    # Tickets keep the state at the client; a cache here would be memory that clients can fill.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"tlsgate:" + protocol.value.encode())
    context.set_alpn_select_callback(_alpn_callback(_ALPN[protocol]))
    if client_ca is not None:
        _ask_for_certificates(context, client_ca)
    try:
        context.use_certificate(certificate.chain[0])
        for intermediate in certificate.chain[1:]:
            context.add_extra_chain_cert(intermediate)
        context.use_privatekey(certificate.key)
        context.check_privatekey()
    except SSL.Error:
        raise CertificateFault(
            f"{certificate.path}: OpenSSL refuses it (weak key or signature); "
            "get a chain with ECDSA P-256 or RSA 2048 keys or better, signed with SHA-256"
        ) from None
    return context


def _ask_for_certificates(context: SSL.Context, client_ca: Path) -> None:
    """A client needs none, but one that shows one needs a good one: else the handshake fails (RFC 8446 4.4.2.4)."""
    try:
        context.load_verify_locations(os.fsencode(client_ca))
        context.load_client_ca(os.fsencode(client_ca))
    except SSL.Error:
        raise CertificateFault(
            f"tls.client_ca: {client_ca}: holds no CA certificate that can be read; name a readable file in PEM"
        ) from None
    context.set_verify(SSL.VERIFY_PEER)


def _alpn_callback(name: bytes) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    """Picks the listener's protocol, or fails the handshake with no_application_protocol (RFC 7301 3.2)."""

    def select(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
        if name in offered:
            return name
        raise ForeignProtocol  # pyOpenSSL keeps it and raises it from do_handshake

    return select
