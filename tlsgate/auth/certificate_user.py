"""Whom a client's certificate names, for SASL EXTERNAL."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

from tlsgate.dialogue.credentials import Credentials, CredentialsError


def certificate_user(certificate: x509.Certificate) -> str | None:
    """The first rfc822Name of its subject alternative names, else its only common name; None if nobody can be read.

    ``certificate``: verified already. A name that can't be a user's is none, and isn't passed over for another one.
    """
    try:
        if (name := _mailbox(certificate)) is None and (name := _common_name(certificate)) is None:
            return None
        Credentials(name, b"any")
    except (CredentialsError, ValueError):  # ValueError: cryptography reads extensions and names late
        return None
    return name


def _mailbox(certificate: x509.Certificate) -> str | None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    return next(iter(names.get_values_for_type(x509.RFC822Name)), None)


def _common_name(certificate: x509.Certificate) -> str | None:
    """None also for several: which of them the CA has looked at isn't known."""
    match certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        case [x509.NameAttribute(value=str(name))]:
            return name
    return None
