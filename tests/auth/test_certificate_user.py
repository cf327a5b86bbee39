"""Whom a client's certificate names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID, NameOID

from tlsgate.auth.certificate_user import certificate_user


def certificate(common_names: tuple[str, ...], extension: x509.ExtensionType | None = None) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(names, names, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256())


ALICE = x509.RFC822Name("alice@example.org")


@pytest.mark.parametrize(
    ("common_names", "alternatives", "user"),
    [
        (("bob",), (ALICE,), "alice@example.org"),
        (("bob",), (x509.DNSName("alice.example.org"), ALICE, x509.RFC822Name("a@b.example")), "alice@example.org"),
        (("bob",), (), "bob"),
        (("bob",), (x509.DNSName("alice.example.org"),), "bob"),
        (("böb",), (), "böb"),
        ((), (), None),
        (("bob", "admin"), (), None),
        (("bob\r\nadmin",), (), None),
        (("bob\0admin",), (), None),
        ((" ",), (), None),
        (("bob",), (x509.RFC822Name("x" * 600),), None),
    ],
)
def test_who_it_is(common_names: tuple[str, ...], alternatives: tuple[x509.GeneralName, ...], user: str | None) -> None:
    """None must never become somebody: a name that can't be a user's doesn't make room for the next one."""
    extension = x509.SubjectAlternativeName(alternatives) if alternatives else None
    assert certificate_user(certificate(common_names, extension)) == user


def test_what_a_ca_issues_to_a_person() -> None:
    issued = trustme.CA().issue_cert("alice@example.org", common_name="Alice")
    pem = issued.cert_chain_pems[0].bytes()
    assert certificate_user(x509.load_pem_x509_certificate(pem)) == "alice@example.org"


@pytest.mark.parametrize(
    "names",
    [
        b"\x30\x05garb",
        b"\x30\x02\x81\x00",
        b"\x30\x03\x81\x01 ",
        b"\x30\x04\x81\x02\xff\xfe",
        b"\x30\x05\x81\x03a\0b",
        b"\x30\x05\x81\x03a\nb",
    ],
)
def test_alternative_names_that_cannot_be_read_name_nobody(names: bytes) -> None:
    """cryptography reads extensions late: that must not end a session with a fault of ours, nor make "bob" of it."""
    extension = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names)
    assert certificate_user(certificate(("bob",), extension)) is None
