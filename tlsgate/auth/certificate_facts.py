"""A client's certificate as nginx writes of it, which existing authentication servers compare with what they know."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.x509.oid import NameOID
from msgspec import Struct


class CertificateFacts(Struct, frozen=True):
    """Names by RFC 2253 in OpenSSL's words, printable ASCII; ``serial``: hexadecimal; ``fingerprint``: of SHA-1."""

    subject: str
    issuer: str
    serial: str
    fingerprint: str


def certificate_facts(certificate: x509.Certificate) -> CertificateFacts:
    """What there is to say of a certificate that was verified. Raises ValueError for names that can't be read."""
    serial = f"{certificate.serial_number:X}"
    return CertificateFacts(
        _name(certificate.subject),
        _name(certificate.issuer),
        serial.zfill(len(serial) + len(serial) % 2),
        certificate.fingerprint(SHA1()).hex(),  # noqa: S303 - nginx's; it tells certificates apart, and proves nothing
    )


def _name(name: x509.Name) -> str:
    return _UNPRINTABLE.sub(_as_octets, name.rfc4514_string(_OPENSSL))


def _as_octets(found: re.Match[str]) -> str:
    return "".join(f"\\{octet:02X}" for octet in found[0].encode(errors="replace"))


_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
# What OpenSSL has a short name for, and cryptography none.
_OPENSSL = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.GIVEN_NAME: "GN",
    NameOID.SURNAME: "SN",
    NameOID.TITLE: "title",
    NameOID.INITIALS: "initials",
    NameOID.PSEUDONYM: "pseudonym",
    NameOID.GENERATION_QUALIFIER: "generationQualifier",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.STREET_ADDRESS: "street",
    NameOID.POSTAL_CODE: "postalCode",
    NameOID.BUSINESS_CATEGORY: "businessCategory",
    NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
}
