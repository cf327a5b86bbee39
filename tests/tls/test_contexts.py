"""Contexts: what each is made of, which one a server name gets, and what a reload leaves alone."""

from __future__ import annotations

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from tests.tls.conftest import ALL, Pki, self_signed
from tests.tls.peer import Visitor, meet
from tlsgate.config import Protocol, Sni, Tls, TlsVersion
from tlsgate.tls.accept import tls_facts
from tlsgate.tls.certificate import CertificateFault
from tlsgate.tls.contexts import ServerContexts

TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
TLS13 = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
AES_128, AES_256, CHACHA = b"TLS_AES_128_GCM_SHA256", b"TLS_AES_256_GCM_SHA384", b"TLS_CHACHA20_POLY1305_SHA256"


# -- the choice by name ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "entry"),
    [
        ("mail.example.net", "exact"),
        ("MAIL.Example.NET", "exact"),
        ("mail.example.net.", "exact"),
        ("a.example.com", "wildcard"),
        ("b.Example.com.", "wildcard"),
        ("shop.example.com", "shop"),
        ("example.com", "default"),
        ("a.b.example.com", "default"),
        ("mail.example.org", "default"),
        ("", "default"),
        (".", "default"),
        (".example.com", "wildcard"),
        (None, "default"),
    ],
)
def test_the_context_for_a_name(pki: Pki, asked: str | None, entry: str) -> None:
    """An exact name before a wildcard, which stands for one label (RFC 6125 6.4.3), before the default."""
    contexts = ServerContexts(
        pki.tls(
            pki.sni("wildcard", "*.example.com"),
            pki.sni("exact", "Mail.Example.net"),
            pki.sni("shop", "shop.example.com"),
        ),
        ALL,
    )
    by_entry = {
        "default": contexts.choose(Protocol.IMAP, "nobody.example.org"),
        "wildcard": contexts.choose(Protocol.IMAP, "any.example.com"),
        "exact": contexts.choose(Protocol.IMAP, "mail.example.net"),
        "shop": contexts.choose(Protocol.IMAP, "shop.example.com"),
    }
    assert len(set(by_entry.values())) == len(by_entry)
    assert contexts.choose(Protocol.IMAP, asked) is by_entry[entry]


def test_protocols_share_no_context(named_contexts: ServerContexts) -> None:
    """A shared one would let a ticket of one protocol's listener count at another's."""
    for name in (None, "mail.example.net"):
        assert len({named_contexts.choose(protocol, name) for protocol in ALL}) == len(ALL)


@pytest.mark.parametrize(("name", "path"), [(b"mail.example.net", "net"), (None, "default"), (b"x.example", "default")])
async def test_the_client_is_shown_the_certificate_of_the_name(
    named_contexts: ServerContexts, name: bytes | None, path: str
) -> None:
    shown = await meet(named_contexts, Visitor(), name)
    served = {each.path.stem: each.chain[0] for each in named_contexts.certificates}
    assert shown.stream
    assert shown.client.leaf() == served[path]
    shown.close()


async def test_many_clients_at_once_are_each_shown_the_certificate_of_their_name(pki: Pki) -> None:
    """The choice must hang on nothing that handshakes share."""
    tls = pki.tls(pki.sni("exact", "mail.example.net"), pki.sni("wildcard", "*.example.com"))
    contexts = ServerContexts(tls, ALL)
    served = {each.path.stem: each.chain[0] for each in contexts.certificates}
    names: list[tuple[bytes | None, str]] = [
        (b"mail.example.net", "exact"),
        (b"a.example.com", "wildcard"),
        (b"a.b.example.com", "default"),
        (b"unknown.example", "default"),
        (None, "default"),
    ]
    visitor, wrong = Visitor(), list[tuple[bytes | None, str]]()

    async def visit(name: bytes | None, path: str) -> None:
        shown = await meet(contexts, visitor, name)
        assert shown.stream
        if shown.client.leaf() != served[path]:
            wrong.append((name, path))
        shown.close()

    async with trio.open_nursery() as nursery:
        for name, path in names * 40:
            nursery.start_soon(visit, name, path)
    assert wrong == []


async def test_the_intermediates_are_sent(pki: Pki) -> None:
    issued = pki.ca.create_child_ca().issue_cert("mail.example.org")
    certificate, key = pki.directory / "deep.pem", pki.directory / "deep.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    met = await meet(ServerContexts(Tls(certificate=certificate, private_key=key), ALL), Visitor())
    assert met.stream
    chain = met.client.connection.get_peer_cert_chain(as_cryptography=True)
    assert chain is not None
    assert len(chain) == len(issued.cert_chain_pems) == 2
    met.close()


# -- versions and ciphers ----------------------------------------------------------------------------


async def test_the_minimum_version_holds_for_each_name(pki: Pki) -> None:
    """OpenSSL takes it from the context that a connection began with: swapping one in later would not do."""
    contexts = ServerContexts(pki.tls(pki.sni("net", "strict.example.net", minimum=TlsVersion.TLS1_3)), ALL)
    refused = await meet(contexts, Visitor(versions=TLS12), b"strict.example.net")
    assert refused.lost == "unsupported protocol"
    assert refused.alert == "tlsv1 alert protocol version"
    for versions, name in [(TLS13, b"strict.example.net"), (TLS12, b"mail.example.org"), (TLS12, None)]:
        met = await meet(contexts, Visitor(versions=versions), name)
        assert met.stream
        met.close()
    refused.close()


async def test_a_name_may_have_a_lower_minimum_than_the_default(pki: Pki) -> None:
    tls = pki.tls(
        pki.sni("old", "old.example.net", minimum=TlsVersion.TLS1_2),
        pki.sni("same", "same.example.net"),
        minimum=TlsVersion.TLS1_3,
    )
    contexts = ServerContexts(tls, ALL)
    met = await meet(contexts, Visitor(versions=TLS12), b"old.example.net")
    assert tls_facts(met.stream).version == "TLSv1.2"
    met.close()
    for name in (b"same.example.net", b"mail.example.org", None):
        refused = await meet(contexts, Visitor(versions=TLS12), name)
        assert refused.lost == "unsupported protocol"
        refused.close()


@pytest.mark.parametrize(
    ("offered", "picked"),
    [
        ((AES_256, AES_128, CHACHA), AES_128),
        ((AES_256, CHACHA), AES_256),
        ((CHACHA, AES_256, AES_128), CHACHA),
        ((AES_256, CHACHA, AES_128), AES_128),
    ],
)
async def test_tls13_ciphers_in_our_order_but_for_a_client_that_begins_with_chacha(
    plain_contexts: ServerContexts, offered: tuple[bytes, ...], picked: bytes
) -> None:
    """A phone without AES in hardware puts ChaCha20 first; for everyone else AES-128 costs least."""
    met = await meet(plain_contexts, Visitor(versions=TLS13, tls13=b":".join(offered)))
    assert tls_facts(met.stream).cipher == picked.decode()
    met.close()


@pytest.mark.parametrize(
    ("offered", "picked"),
    [
        (b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (b"ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ],
)
async def test_tls12_ciphers_in_our_order_but_for_a_client_that_begins_with_chacha(
    plain_contexts: ServerContexts, offered: bytes, picked: str
) -> None:
    met = await meet(plain_contexts, Visitor(versions=TLS12, tls12=offered))
    assert tls_facts(met.stream).cipher == picked
    met.close()


@pytest.mark.parametrize(
    "weak",
    [b"AES128-SHA", b"AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-SHA", b"ECDHE-ECDSA-AES128-SHA256", b"ECDHE+AESCCM8"],
)
async def test_weak_tls12_ciphers_are_refused(plain_contexts: ServerContexts, weak: bytes) -> None:
    """Key exchange without forward secrecy, CBC with a MAC, short tags."""
    refused = await meet(plain_contexts, Visitor(versions=TLS12, tls12=weak + b":@SECLEVEL=0"))
    assert refused.lost == "no shared cipher"
    assert "handshake failure" in refused.alert
    refused.close()


async def test_an_rsa_certificate_is_served_over_tls12(pki: Pki) -> None:
    certificate, key = pki.issue("rsa", "mail.example.org", key_type=trustme.KeyType.RSA)
    contexts = ServerContexts(Tls(certificate=certificate, private_key=key), ALL)
    met = await meet(contexts, Visitor(versions=TLS12))
    assert tls_facts(met.stream).cipher == "ECDHE-RSA-AES128-GCM-SHA256"
    met.close()


# -- loading and reloading ---------------------------------------------------------------------------


async def test_a_reload_serves_the_new_certificate_and_leaves_the_old_contexts_alone(pki: Pki) -> None:
    """A used context refuses every change: a reload that kept one would fail, or serve the old key for ever."""
    tls = pki.tls()
    old = ServerContexts(tls, ALL)
    before = await meet(old, Visitor())
    pki.issue("default", "mail.example.org")
    new = ServerContexts(tls, ALL)
    after, still = await meet(new, Visitor()), await meet(old, Visitor())
    assert before.stream and after.stream and still.stream
    assert before.client.leaf() == still.client.leaf() == old.certificates[0].chain[0]
    assert after.client.leaf() == new.certificates[0].chain[0]
    assert after.client.leaf() != before.client.leaf()
    for met in (before, after, still):
        met.close()


def test_every_fault_is_told_at_once(pki: Pki) -> None:
    """Else an operator with three bad files would need four tries."""
    good = pki.sni("good", "good.example.net")
    gone, empty = pki.directory / "gone.pem", pki.directory / "empty.pem"
    empty.write_bytes(b"")
    tls = Tls(
        certificate=gone,
        private_key=good.private_key,
        sni=(good, Sni(hostnames=("x.example.net",), certificate=good.certificate, private_key=empty)),
    )
    with pytest.raises(CertificateFault) as raised:
        ServerContexts(tls, ALL)
    lines = str(raised.value).split("\n")
    assert [line.partition(":")[0] for line in lines] == [str(gone), str(empty)]


def test_a_key_that_openssl_finds_too_weak(pki: Pki) -> None:
    weak = self_signed(pki.directory, rsa.generate_private_key(65537, 1024))  # noqa: S505 - the point of it
    with pytest.raises(CertificateFault, match="weak key or signature") as raised:
        ServerContexts(Tls(certificate=weak[0], private_key=weak[1]), ALL)
    assert str(raised.value).startswith(f"{weak[0]}: ")
    assert "\n" not in str(raised.value)
