"""A certificate in OpenSSL's words: existing servers compare them with what they have stored (tests/system: nginx)."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.system.peers import program
from tlsgate.auth.certificate_facts import CertificateFacts, certificate_facts

NAMES = [
    (NameOID.COUNTRY_NAME, "DE"),
    (NameOID.STATE_OR_PROVINCE_NAME, "S"),
    (NameOID.LOCALITY_NAME, "#L"),
    (NameOID.ORGANIZATION_NAME, ' A, B+C; "x" <y>\\z '),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "tab\there"),
    (NameOID.COMMON_NAME, "José"),
    (NameOID.EMAIL_ADDRESS, "ann@example.org"),
    (NameOID.SERIAL_NUMBER, "77"),
    (NameOID.GIVEN_NAME, "Ann"),
    (NameOID.SURNAME, "Other"),
    (NameOID.TITLE, "Dr"),
    (NameOID.INITIALS, "A"),
    (NameOID.PSEUDONYM, "P"),
    (NameOID.GENERATION_QUALIFIER, "3"),
    (NameOID.DN_QUALIFIER, "Q"),
    (NameOID.USER_ID, "ann"),
    (NameOID.DOMAIN_COMPONENT, "example"),
    (NameOID.STREET_ADDRESS, "Way 1"),
    (NameOID.POSTAL_CODE, "12345"),
    (NameOID.BUSINESS_CATEGORY, "B"),
    (NameOID.ORGANIZATION_IDENTIFIER, "I"),
]


def certificate(serial: int) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(serial_number=serial, public_key=key.public_key())
    builder = builder.subject_name(x509.Name([x509.NameAttribute(*name) for name in NAMES]))
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
    return builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, SHA256())


@pytest.mark.system
@pytest.mark.parametrize("serial", [1, 0xABC, 0xC07AD56B846B5BFF])
def test_what_openssl_says_of_it(serial: int) -> None:
    shown = certificate(serial)
    said = subprocess.run(
        [program("openssl"), "x509", "-noout", "-subject", "-issuer", "-serial", "-fingerprint", "-nameopt", "RFC2253"],
        input=shown.public_bytes(Encoding.PEM),
        capture_output=True,
        check=True,
    ).stdout.decode()
    subject, issuer, number, fingerprint = (line.partition("=")[2] for line in said.splitlines())
    expected = CertificateFacts(subject, issuer, number, fingerprint.replace(":", "").lower())
    assert certificate_facts(shown) == expected
