"""Certificates of sessions that are resumed: verified long ago, and perhaps over by now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trustme
from OpenSSL import SSL

from tests.tls.conftest import ALL, Pki
from tests.tls.peer import Visitor, meet
from tlsgate.config import Tls
from tlsgate.tls.client_certificate import peer_certificate
from tlsgate.tls.contexts import ServerContexts

TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
TLS13 = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
SECONDS = 4


@pytest.fixture
def asking(pki: Pki) -> ServerContexts:
    """Contexts that ask for certificates of the CA."""
    certificate, key = pki.issue("default", "mail.example.org")
    ca = pki.directory / "ca.pem"
    pki.ca.cert_pem.write_to_path(ca)
    return ServerContexts(Tls(certificate=certificate, private_key=key, client_ca=ca), ALL)


def having(pki: Pki, versions: tuple[int, int], until: datetime) -> Visitor:
    """A client with a certificate for ann@example.org that ends then."""
    issued = pki.ca.issue_cert("ann@example.org", not_after=until, key_type=trustme.KeyType.ECDSA)
    path, key = pki.directory / "ann.pem", pki.directory / "ann.key"
    path.write_bytes(issued.cert_chain_pems[0].bytes())
    issued.private_key_pem.write_to_path(key)
    visitor = Visitor(versions=versions)
    visitor.context.use_certificate_file(str(path))
    visitor.context.use_privatekey_file(str(key))
    return visitor


async def ticket(contexts: ServerContexts, visitor: Visitor) -> SSL.Session:
    """A session to resume: TLS 1.3 sends tickets behind the handshake."""
    met = await meet(contexts, visitor)
    await met.stream.send(b"x")
    assert await met.client.receive() == b"x"
    session = met.client.connection.get_session()
    assert session is not None
    await met.client.end()  # OpenSSL's client forgets a session that broke off
    met.close()
    return session


async def shown_by(contexts: ServerContexts, visitor: Visitor, session: SSL.Session) -> bool:
    """Whether a resumed session has a certificate for a login."""
    visitor.verified = 0
    met = await meet(contexts, visitor, session=session)
    found = peer_certificate(met.stream)
    assert visitor.verified == 0, "not resumed"
    met.close()
    return found is not None


async def test_one_that_has_ended_lets_nobody_in_by_a_resumed_session(pki: Pki, asking: ServerContexts) -> None:
    """OpenSSL looks at a certificate's time in a full handshake alone: each resumption brings a new ticket, and one
    stolen phone's certificate, which ended since, would let in for ever."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=SECONDS)
    visitors = [having(pki, versions, until) for versions in (TLS12, TLS13)]
    now, later = [], []
    for each in visitors:
        now.append(await ticket(asking, each))
        later.append(await ticket(asking, each))
    # Else the sessions below would have none for another reason.
    assert [await shown_by(asking, *each) for each in zip(visitors, now, strict=True)] == [True, True]
    await trio.sleep((until - datetime.now(UTC)).total_seconds() + 0.1)
    assert datetime.now(UTC) > until
    assert [await shown_by(asking, *each) for each in zip(visitors, later, strict=True)] == [False, False]
