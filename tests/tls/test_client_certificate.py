"""What a login can rest on of its TLS: both ends' same exporter, and the certificate that was verified."""

from __future__ import annotations

from datetime import datetime, tzinfo

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from tests.auth.odd_certificate import VERSION_6, odd_certificate
from tests.tls.conftest import ALL, Pki
from tests.tls.peer import Meeting, Visitor, meet
from tlsgate.config import Tls
from tlsgate.tls import client_certificate
from tlsgate.tls.client_certificate import exporter, peer_certificate
from tlsgate.tls.contexts import ServerContexts

LABEL = b"EXPORTER-Channel-Binding"
TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
TLS13 = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
each_version = pytest.mark.parametrize("versions", [TLS12, TLS13], ids=["1.2", "1.3"])


@pytest.fixture
def asking(pki: Pki) -> ServerContexts:
    """Contexts that ask for certificates of the CA."""
    certificate, key = pki.issue("default", "mail.example.org")
    ca = pki.directory / "ca.pem"
    pki.ca.cert_pem.write_to_path(ca)
    return ServerContexts(Tls(certificate=certificate, private_key=key, client_ca=ca), ALL)


def having(pki: Pki, versions: tuple[int, int], ca: trustme.CA | None = None, *, odd: bool = False) -> Visitor:
    """A client with a certificate for ann@example.org. ``odd``: of no version that there is."""
    issued = (ca or pki.ca).issue_cert("ann@example.org", key_type=trustme.KeyType.ECDSA)
    path, key = pki.directory / "ann.pem", pki.directory / "ann.key"
    path.write_bytes(issued.cert_chain_pems[0].bytes())
    issued.private_key_pem.write_to_path(key)
    if odd:
        own = load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(own, ec.EllipticCurvePrivateKey)
        path.write_bytes(odd_certificate(pki.ca, "ann@example.org", own, VERSION_6))
    visitor = Visitor(versions=versions)
    visitor.context.use_certificate_file(str(path))
    visitor.context.use_privatekey_file(str(key))
    return visitor


async def test_both_ends_have_the_same_octets_and_no_other_connection(plain_contexts: ServerContexts) -> None:
    """RFC 9266 2: 32 octets of this label, without a context, or no client's proof would ever fit."""
    visitor = Visitor(versions=TLS13)
    meetings = [await meet(plain_contexts, visitor) for _ in range(2)]
    ours = [exporter(each.stream) for each in meetings]
    theirs = [each.client.connection.export_keying_material(LABEL, 32, b"") for each in meetings]
    assert ours == theirs
    assert len({*ours}) == 2
    for each in meetings:
        each.close()


async def test_there_is_none_below_tls_1_3(plain_contexts: ServerContexts) -> None:
    """RFC 9266 4: one in the middle can make two connections with the same one there."""
    meeting = await meet(plain_contexts, Visitor(versions=TLS12))
    assert exporter(meeting.stream) is None
    meeting.close()


def names(meeting: Meeting) -> list[str]:
    certificate = peer_certificate(meeting.stream)
    assert certificate is not None
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return alternatives.get_values_for_type(x509.RFC822Name)


@each_version
async def test_a_clients_certificate(pki: Pki, asking: ServerContexts, versions: tuple[int, int]) -> None:
    meeting = await meet(asking, having(pki, versions))
    assert names(meeting) == ["ann@example.org"]
    meeting.close()


async def test_one_that_is_over_by_now_is_none(
    pki: Pki, asking: ServerContexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that is resumed brings the certificate of its first handshake, and isn't verified again."""
    meeting = await meet(asking, having(pki, TLS13))

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Later:
            return cls(9000, 1, 1, tzinfo=tz)

    monkeypatch.setattr(client_certificate, "datetime", Later)
    assert peer_certificate(meeting.stream) is None
    meeting.close()


@each_version
async def test_who_shows_none_has_none(asking: ServerContexts, versions: tuple[int, int]) -> None:
    """Passwords still let in: a CA must not lock out all who have no certificate."""
    meeting = await meet(asking, Visitor(versions=versions))
    assert peer_certificate(meeting.stream) is None
    meeting.close()


@each_version
async def test_who_is_not_asked_shows_none(pki: Pki, plain_contexts: ServerContexts, versions: tuple[int, int]) -> None:
    meeting = await meet(plain_contexts, having(pki, versions))
    assert peer_certificate(meeting.stream) is None
    meeting.close()


@each_version
async def test_another_cas_word_is_worth_nothing(pki: Pki, asking: ServerContexts, versions: tuple[int, int]) -> None:
    """No certificate is better than one that anybody can make: there is no session to log in by."""
    meeting = await meet(asking, having(pki, versions, trustme.CA(key_type=trustme.KeyType.ECDSA)))
    assert meeting.lost
    meeting.client.close()


async def test_one_that_cannot_be_read_is_none(pki: Pki, asking: ServerContexts) -> None:
    """OpenSSL has found it good: its client must be no fault of ours."""
    meeting = await meet(asking, having(pki, TLS13, odd=True))
    assert peer_certificate(meeting.stream) is None
    meeting.close()
