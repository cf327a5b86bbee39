"""What of a client's TLS its login can rest on: its certificate, and the channel that a proof is bound to."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from OpenSSL import SSL

from tlsgate.tls.stream import TlsStream

_LABEL = b"EXPORTER-Channel-Binding"
_OCTETS = 32


def exporter(stream: TlsStream) -> bytes | None:
    """The octets for "tls-exporter" (RFC 9266 2), None below TLS 1.3, where they may be another connection's too."""
    if stream.connection.get_protocol_version() < SSL.TLS1_3_VERSION:
        return None
    return stream.connection.export_keying_material(_LABEL, _OCTETS, b"")


def peer_certificate(stream: TlsStream) -> x509.Certificate | None:
    """The client's certificate, which the handshake has verified; None if it has shown none that can be read, or it is
    over by now.

    A session that is resumed again and again brings a certificate that was verified long ago.
    """
    try:
        certificate = stream.connection.get_peer_certificate(as_cryptography=True)
    except (ValueError, x509.InvalidVersion):  # OpenSSL takes more
        return None
    if (
        certificate is None
        or not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc
    ):
        return None
    return certificate
