"""Clients' certificates that OpenSSL finds good, and cryptography can't read, or not all of them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

_NAME = "Jos??"
LATIN_1 = _NAME.encode(), "José!".encode("latin-1")
"""As an old CA makes it: its subject's common name is in Latin-1, as T61String."""
VERSION_6 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"
"""Of a version that there is none of."""


def odd_certificate(
    ca: trustme.CA, mailbox: str, key: ec.EllipticCurvePrivateKey, odd: tuple[bytes, bytes] = LATIN_1
) -> bytes:
    """In PEM. ``odd``: octets of a good one, and what stands there instead."""
    ca_key = load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(serial_number=1, public_key=key.public_key())
    builder = builder.subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME, _type=_ASN1Type.T61String)])
    )
    builder = builder.issuer_name(x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(mailbox)]), critical=False)
    made = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    good = made.sign(ca_key, SHA256())
    # Of as many octets: only the signature is another one.
    before, algorithm = good.tbs_certificate_bytes, b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
    assert algorithm in before and before.count(odd[0]) == 1
    body = before.replace(*odd)
    signature = _der(0x03, b"\0" + ca_key.sign(body, ec.ECDSA(SHA256())))
    return ssl.DER_cert_to_PEM_cert(_der(0x30, body + algorithm + signature)).encode()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + content
