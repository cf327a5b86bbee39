"""Loading a certificate and its key: every fault's text names the file and says what would be right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.tls.conftest import Pki, self_signed
from tlsgate.tls.certificate import CertificateFault, load_certificate

_CURVE_P256, _CURVE_UNKNOWN = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")


def _fault(certificate: Path, key: Path) -> str:
    with pytest.raises(CertificateFault) as raised:
        load_certificate(certificate, key)
    return str(raised.value)


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_a_chain_and_its_key(pki: Pki, key_type: trustme.KeyType) -> None:
    loaded = load_certificate(*pki.issue("site", "mail.example.org", "*.example.org", "192.0.2.1", key_type=key_type))
    assert loaded.names == ("mail.example.org", "*.example.org", "192.0.2.1")
    assert loaded.path == pki.directory / "site.pem"


def test_expires_is_the_first_of_the_chain_to_end(pki: Pki) -> None:
    """An intermediate that ends before the leaf breaks clients on its day, not on the leaf's."""
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    intermediate = pki.ca.create_child_ca()
    issued = intermediate.issue_cert("mail.example.org", not_after=soon + timedelta(days=90))
    chain, key = pki.directory / "chain.pem", pki.directory / "chain.key"
    issued.private_key_pem.write_to_path(key)
    short, _ = self_signed(pki.directory, ec.generate_private_key(ec.SECP256R1()), until=soon)
    chain.write_bytes(issued.cert_chain_pems[0].bytes() + short.read_bytes())
    assert load_certificate(chain, key).expires == soon


def test_begins_is_the_last_of_the_chain_to_begin(pki: Pki) -> None:
    late = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    issued = pki.ca.issue_cert("mail.example.org", not_before=late, not_after=late + timedelta(days=9))
    chain, key = pki.directory / "late.pem", pki.directory / "late.key"
    issued.private_key_pem.write_to_path(key)
    chain.write_bytes(issued.cert_chain_pems[0].bytes() + pki.ca.cert_pem.bytes())
    assert load_certificate(chain, key).begins == late


def test_an_expired_certificate_loads(pki: Pki) -> None:
    """A gateway that stops serving at midnight is worse than one whose clients are warned."""
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    issued = pki.ca.issue_cert("mail.example.org", not_before=past - timedelta(days=1), not_after=past)
    certificate, key = pki.directory / "old.pem", pki.directory / "old.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    assert load_certificate(certificate, key).expires == past


def test_the_key_is_in_no_repr(pki: Pki) -> None:
    assert "PrivateKey" not in repr(load_certificate(*pki.issue("site", "mail.example.org")))


def test_a_certificate_without_names(tmp_path: Path) -> None:
    files = self_signed(tmp_path, ec.generate_private_key(ec.SECP256R1()), name=None)
    assert load_certificate(*files).names == ()


def test_another_certificates_key(pki: Pki) -> None:
    certificate, _ = pki.issue("one", "one.example.org")
    _, key = pki.issue("two", "two.example.org")
    assert _fault(certificate, key) == (
        f"{key}: is not the key of {certificate}; use the key that the certificate was made with"
    )


def test_a_chain_in_the_wrong_order(pki: Pki) -> None:
    certificate, key = pki.issue("site", "mail.example.org")
    certificate.write_bytes(pki.ca.cert_pem.bytes() + certificate.read_bytes())
    assert _fault(certificate, key) == (
        f"{certificate}: the server's certificate isn't the first; put it before its issuers'"
    )


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key(pki: Pki, form: PrivateFormat) -> None:
    certificate, path = pki.issue("site", "mail.example.org")
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"passphrase")))
    assert _fault(certificate, path) == (
        f"{path}: the key is encrypted; give one without a passphrase, readable to us only"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff" * 50,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_garbage(pki: Pki, content: bytes) -> None:
    certificate, key = pki.issue("site", "mail.example.org")
    garbage = pki.directory / "garbage.pem"
    garbage.write_bytes(content)
    assert _fault(garbage, key) == f"{garbage}: holds no PEM certificate; give the full chain, the server's first"
    assert _fault(certificate, garbage) == f"{garbage}: holds no PEM private key; give the certificate's, unencrypted"


def test_certificate_and_key_swapped(pki: Pki) -> None:
    certificate, key = pki.issue("site", "mail.example.org")
    assert _fault(key, certificate).startswith(f"{key}: holds no PEM certificate")


def test_what_cannot_be_read(pki: Pki) -> None:
    """/proc/self/mem opens but can't be read from its start: what an unreadable file is to a process run as root."""
    certificate, key = pki.issue("site", "mail.example.org")
    for path, why in [
        (pki.directory / "missing.pem", "No such file or directory"),
        (pki.directory, "Is a directory"),
        (key / "below", "Not a directory"),
        (Path("/proc/self/mem"), "Input/output error"),
    ]:
        expected = f"{path}: {why}; name a readable PEM file"
        assert _fault(path, key) == expected
        assert _fault(certificate, path) == expected


def test_a_key_of_a_kind_that_tls_has_no_use_for(pki: Pki) -> None:
    certificate, path = pki.issue("site", "mail.example.org")
    key = x25519.X25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert _fault(certificate, path) == f"{path}: this kind of key isn't used in TLS; make an ECDSA P-256 or an RSA key"


def test_a_certificate_of_a_kind_that_tls_has_no_use_for(pki: Pki) -> None:
    """A DSA key, and a curve that nobody has: both once came out as other errors, or without the file."""
    _, key = pki.issue("site", "mail.example.org")
    path, _ = self_signed(pki.directory, dsa.generate_private_key(1024))  # noqa: S505 - quick to make
    expected = f"{path}: the certificate's kind of key isn't used in TLS; get ECDSA P-256 or RSA"
    assert _fault(path, key) == expected
    self_signed(pki.directory, ec.generate_private_key(ec.SECP256R1()))
    der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    assert _CURVE_P256 in der
    path.write_bytes(_pem(der.replace(_CURVE_P256, _CURVE_UNKNOWN)))
    assert _fault(path, key) == expected


def test_ed25519_is_served(tmp_path: Path) -> None:
    files = self_signed(tmp_path, ed25519.Ed25519PrivateKey.generate())
    assert load_certificate(*files).names == ("mail.example.org",)


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
