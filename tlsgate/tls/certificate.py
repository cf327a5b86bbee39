"""A certificate chain and its private key, read together and checked against each other."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tlsgate.secret_file import open_to_all

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class CertificateFault(Exception):
    """Certificates or keys that can't be used. The text, a line each: the file, what is wrong, what would be right."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a listener shows: leaf first, then intermediates. ``path`` names it in metrics.

    ``open_key``: the key's file, if everybody on this host may read it.
    """

    path: Path
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)
    open_key: Path | None = None

    @property
    def expires(self) -> datetime:
        """The first moment at which a certificate of the chain is no longer valid (UTC)."""
        return min(each.not_valid_after_utc for each in self.chain)

    @property
    def begins(self) -> datetime:
        """The first moment at which every certificate of the chain is valid (UTC)."""
        return max(each.not_valid_before_utc for each in self.chain)

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names and addresses that the leaf is for."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):  # none, or none that can be read
            return ()
        return (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))

    def is_for(self, host: str) -> bool:
        """Whether clients of ``host`` accept it by its names (RFC 6125 6.4: "*" stands for one whole first label)."""
        name = host.lower().rstrip(".")
        wildcard = "*." + name.partition(".")[2]
        return any(each.lower() in (name, wildcard) for each in self.names)


def load_certificate(path: Path, key_path: Path) -> Certificate:
    """Read a PEM chain and its key. Raises CertificateFault. Reads files: not for the trio loop."""
    chain = _chain(path)
    key, open_key = _key(key_path)
    public = _der(key.public_key())
    if _public(path, chain[0]) == public:
        return Certificate(path, chain, key, open_key)
    if any(_public(path, each) == public for each in chain[1:]):
        raise CertificateFault(f"{path}: the server's certificate isn't the first; put it before its issuers'")
    raise CertificateFault(f"{key_path}: is not the key of {path}; use the key that the certificate was made with")


def _chain(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(_read(path)[0]))
    except ValueError:
        raise CertificateFault(f"{path}: holds no PEM certificate; give the full chain, the server's first") from None


def _key(path: Path) -> tuple[PrivateKey, Path | None]:
    """The key, and its file if that is open to all."""
    data, facts = _read(path)
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise CertificateFault(
            f"{path}: the key is encrypted; give one without a passphrase, readable to us only"
        ) from None
    except UnsupportedAlgorithm:
        key = None
    except ValueError:
        raise CertificateFault(f"{path}: holds no PEM private key; give the certificate's, unencrypted") from None
    if isinstance(
        key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
    ):
        return key, path if open_to_all(facts) else None
    raise CertificateFault(f"{path}: this kind of key isn't used in TLS; make an ECDSA P-256 or an RSA key")


def _public(path: Path, certificate: x509.Certificate) -> bytes:
    try:
        public = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        public = None
    if public is None or isinstance(public, dsa.DSAPublicKey):
        raise CertificateFault(f"{path}: the certificate's kind of key isn't used in TLS; get ECDSA P-256 or RSA")
    return _der(public)


def _der(public: CertificatePublicKeyTypes) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """What a file holds, and its facts."""
    try:
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno())
    except OSError as error:
        raise CertificateFault(f"{path}: {error.strerror}; name a readable PEM file") from None
