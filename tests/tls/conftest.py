"""Certificates from a CA of the test run, and configs that name them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tlsgate.config import Protocol, Sni, Tls, TlsVersion
from tlsgate.tls.contexts import ServerContexts

ALL = (Protocol.IMAP, Protocol.POP3, Protocol.SUBMISSION, Protocol.MX)


class Pki:
    """Issues certificates as files: NAME.pem and NAME.key."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA(key_type=trustme.KeyType.ECDSA)

    def issue(self, label: str, *names: str, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> tuple[Path, Path]:
        issued = self.ca.issue_cert(*names, key_type=key_type)
        certificate, key = self.directory / f"{label}.pem", self.directory / f"{label}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def tls(self, *sni: Sni, minimum: TlsVersion = TlsVersion.TLS1_2) -> Tls:
        certificate, key = self.issue("default", "mail.example.org")
        return Tls(certificate=certificate, private_key=key, minimum_version=minimum, sni=sni)

    def sni(self, label: str, *names: str, minimum: TlsVersion | None = None) -> Sni:
        certificate, key = self.issue(label, *names)
        return Sni(hostnames=names, certificate=certificate, private_key=key, minimum_version=minimum)


Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey | rsa.RSAPrivateKey


def self_signed(
    directory: Path, key: Key, *, name: str | None = "mail.example.org", until: datetime | None = None
) -> tuple[Path, Path]:
    """A certificate that trustme would not make, and its key, as files: self.pem and self.key."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(until or now + timedelta(days=365))
    )
    if name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())
    certificate, key_path = directory / "self.pem", directory / "self.key"
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key_path


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
def plain_contexts(pki: Pki) -> ServerContexts:
    """One certificate, no names: no ClientHello is looked at."""
    return ServerContexts(pki.tls(), ALL)


@pytest.fixture
def named_contexts(pki: Pki) -> ServerContexts:
    """The default certificate and one for a name of its own."""
    return ServerContexts(pki.tls(pki.sni("net", "mail.example.net")), ALL)
