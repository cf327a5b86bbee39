"""What clients will find wrong with a listener's certificate, today and in three weeks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.config.files import completed, written
from tlsgate.config import Config, load
from tlsgate.doctor.certificates import certificates, known_roots
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.tls.certificate import Certificate, load_certificate

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOST = "mail.example.org"  # of tests.config.files
ROOT = trustme.CA()
CHILD = ROOT.create_child_ca()


def served(
    directory: Path,
    *names: str,
    ca: trustme.CA = ROOT,
    begins: timedelta = -DAY,
    ends: timedelta = DAY * 60,
    blobs: slice = slice(None),
) -> Certificate:
    """A certificate in a file that has this part of its chain, the root left out."""
    issued = ca.issue_cert(*(names or (HOST,)), not_before=NOW + begins, not_after=NOW + ends)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems[blobs])
    return saved(directory, chain, issued.private_key_pem.bytes())


def saved(directory: Path, chain: bytes, key: bytes) -> Certificate:
    path, key_path = directory / "site.pem", directory / "site.key"
    path.write_bytes(chain)
    key_path.write_bytes(key)
    return load_certificate(path, key_path)


def settings(directory: Path, text: str = "") -> Config:
    return load(written(directory, completed(text)))


def der(ca: trustme.CA) -> bytes:
    root = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    return root.public_bytes(serialization.Encoding.DER)


def found(directory: Path, *those: Certificate, text: str = "", known: Sequence[bytes] = ()) -> list[Finding]:
    return list(certificates(those, settings(directory, text), known or [der(ROOT)], NOW))


def test_a_good_one(tmp_path: Path) -> None:
    assert found(tmp_path, served(tmp_path)) == []
    assert found(tmp_path, served(tmp_path, ca=CHILD)) == []
    issued = ROOT.issue_cert(HOST, not_before=NOW - DAY, not_after=NOW + DAY * 60)
    chain = issued.cert_chain_pems[0].bytes() + ROOT.cert_pem.bytes()  # needless, and no harm
    assert found(tmp_path, saved(tmp_path, chain, issued.private_key_pem.bytes())) == []


@pytest.mark.parametrize(
    ("begins", "ends", "severity", "what"),
    [
        (-DAY, timedelta(), Severity.PROBLEM, "has expired: 2030-01-01 12:00 UTC"),
        (-DAY, DAY * 21 - timedelta(seconds=1), Severity.WARNING, "ends in 20 days: "),
        (DAY, DAY * 60, Severity.PROBLEM, "is valid from 2030-01-02 12:00 UTC only"),
    ],
)
def test_its_time(tmp_path: Path, begins: timedelta, ends: timedelta, severity: Severity, what: str) -> None:
    """Three weeks leave time to see why it hasn't been renewed."""
    (finding,) = found(tmp_path, served(tmp_path, begins=begins, ends=ends))
    assert finding.severity is severity
    assert finding.what.startswith(what)
    assert found(tmp_path, served(tmp_path, ends=DAY * 21)) == []


def test_a_missing_intermediate(tmp_path: Path) -> None:
    """Browsers fetch it, mail clients don't: it works for whoever tries and for nobody else."""
    (finding,) = found(tmp_path, served(tmp_path, ca=CHILD, blobs=slice(1)))
    assert finding.severity is Severity.WARNING
    assert "isn't a root that this host knows" in finding.what


def test_a_file_in_the_wrong_order(tmp_path: Path) -> None:
    issued = CHILD.create_child_ca().issue_cert(HOST, not_before=NOW - DAY, not_after=NOW + DAY * 60)
    first, second, third = (each.bytes() for each in issued.cert_chain_pems)
    (finding,) = found(tmp_path, saved(tmp_path, first + third + second, issued.private_key_pem.bytes()))
    assert finding.what.startswith("the file's certificate 2 isn't the issuer")


def self_signed(directory: Path, bits: int = 2048) -> Certificate:
    key = rsa.generate_private_key(65537, bits)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY * 60)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    pem = serialization.Encoding.PEM
    return saved(
        directory,
        made.sign(key, hashes.SHA256()).public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def test_a_self_signed_one(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, self_signed(tmp_path))
    assert finding.what == "is self-signed"


def test_a_short_key(tmp_path: Path) -> None:
    assert "its key is too short" in [each.what for each in found(tmp_path, self_signed(tmp_path, 1024))]


_SNI = """
[[tls.sni]]
hostnames = {names}
certificate = "a.pem"
private_key = "a.key"
"""


def test_names(tmp_path: Path) -> None:
    """Each name's clients get their own certificate: one that is for another name is no use to them."""
    other = served(tmp_path, "mail.example.net", "*.example.com")
    (finding,) = found(tmp_path, other)
    assert finding.severity is Severity.PROBLEM
    assert f"isn't for {HOST}" in finding.what
    sni = _SNI.format(names='["mail.example.net", "*.example.com", "imap.example.net"]')
    (finding,) = found(tmp_path, served(tmp_path), other, text=sni)
    assert "isn't for imap.example.net" in finding.what
    sni = _SNI.format(names=f'["{HOST}"]')
    assert found(tmp_path, other, served(tmp_path), text=sni) == []


def test_the_roots_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ROOT.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert known_roots() == (der(ROOT),)
