"""A client's certificate as an old CA makes it: its subject's common name is in Latin-1, as T61String."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

_NAME, _LATIN_1 = b"Jos??", "José!".encode("latin-1")


def odd_certificate(ca: trustme.CA, mailbox: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """OpenSSL finds it good; cryptography can't read its subject."""
    ca_key = load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(serial_number=1, public_key=key.public_key())
    builder = builder.subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME.decode(), _type=_ASN1Type.T61String)])
    )
    builder = builder.issuer_name(x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(mailbox)]), critical=False)
    made = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    good = made.sign(ca_key, SHA256())
    # Of as many octets: only the signature is another one.
    before, algorithm = good.tbs_certificate_bytes, b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
    assert algorithm in before and before.count(_NAME) == 1
    body = before.replace(_NAME, _LATIN_1)
    signature = _der(0x03, b"\0" + ca_key.sign(body, ec.ECDSA(SHA256())))
    return x509.load_der_x509_certificate(_der(0x30, body + algorithm + signature))


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + content
