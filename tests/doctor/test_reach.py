"""Whether a backend can be used, and whether passwords can be read on the way there."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
import trustme
from msgspec.structs import replace

from tests.doctor.smtp_server import SmtpServer
from tlsgate.backends.pool import Backend
from tlsgate.config import Backend as BackendSettings
from tlsgate.config import BackendTls, HostPort, Pool, Protocol, UnixPath
from tlsgate.doctor.finding import Severity
from tlsgate.doctor.reach import addresses_of, reach
from tlsgate.doctor.subject import Subject, Untold

PRIVATE, PUBLIC = ip_address("10.0.0.5"), ip_address("198.51.100.5")


def quiet(_: str, __: bool) -> str:
    return ""


async def test_what_it_offers(nursery: trio.Nursery) -> None:
    """Not knowing is what people ask a doctor for; and TLS that is there should be used."""
    server = SmtpServer(lambda line, _: "250-legacy\r\n250-SIZE 99\r\n250 STARTTLS" if line[:4] == "EHLO" else "")
    usable, (offers, unused) = await reach(await server.subject(nursery), [PRIVATE])
    assert usable
    assert offers.what == "answers; it offers SIZE 99, STARTTLS"
    assert (unused.severity, unused.what) == (Severity.NOTE, "could do TLS, and is spoken to in clear")


@pytest.mark.parametrize(
    ("says", "what"),
    [("END", "closed"), ("hello", "protocol"), ("554 go away", "protocol")],
)
async def test_one_that_cannot_be_used(nursery: trio.Nursery, says: str, what: str) -> None:
    usable, (finding,) = await reach(await SmtpServer(lambda _, __: says).subject(nursery), [PRIVATE])
    assert not usable
    assert finding.severity is Severity.PROBLEM
    assert finding.what.startswith(f"can't be used: {what}: ")
    assert finding.do


async def test_clear_text_to_a_public_address(nursery: trio.Nursery) -> None:
    """Every password of every user, for whoever is on the way."""
    subject = await SmtpServer(quiet).subject(nursery)
    _, found = await reach(subject, [PRIVATE, PUBLIC])
    assert (found[0].severity, str(PUBLIC) in found[0].what) == (Severity.PROBLEM, True)
    for near in ([], [PRIVATE], [ip_address("127.0.0.1")], [ip_address("fd00::1")], [ip_address("::1")]):
        _, found = await reach(subject, near)
        assert {each.severity for each in found} == {Severity.NOTE}


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
async def test_where_it_is(address: str) -> None:
    """A name is no private address by itself."""
    assert ip_address("127.0.0.1") in await addresses_of(_subject(BackendSettings(address=HostPort(address, 1))))


async def test_where_nothing_is_known(tmp_path: Path) -> None:
    assert await addresses_of(_subject(BackendSettings(address=UnixPath(tmp_path / "imap")))) == ()
    assert await addresses_of(_subject(BackendSettings(address=HostPort("nowhere.invalid", 1)))) == ()


def _subject(settings: BackendSettings) -> Subject:
    backend = Backend("imap", settings, Untold())
    return Subject(backend, Pool(backends=(settings,)), frozenset({Protocol.IMAP}), "mail.ours.test")


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[trustme.CA]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    yield ca


async def _over_tls(nursery: trio.Nursery, issued: trustme.LeafCert, ca: Path | None, *, verify: bool) -> Subject:
    """An IMAP server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)

    async def serve(plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True)
        try:
            await stream.send_all(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
            tag = (await stream.receive_some(4096)).split(b" ")[0]
            await stream.send_all(b"* BYE\r\n" + tag + b" OK bye\r\n")
        except trio.BrokenResourceError:
            pass  # it didn't like the certificate

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    return _subject(
        BackendSettings(
            address=HostPort("127.0.0.1", listener.socket.getsockname()[1]),
            tls=BackendTls.IMPLICIT,
            ca=ca,
            server_name="legacy.test",
            verify=verify,
        )
    )


async def test_certificates_of_backends(nursery: trio.Nursery, tmp_path: Path, authority: trustme.CA) -> None:
    """As sessions find them: what fails here fails for every client."""
    past = datetime.now(UTC) - timedelta(days=1)
    serve = partial(_over_tls, nursery, ca=tmp_path / "ca.pem", verify=True)
    usable, (finding,) = await reach(await serve(authority.issue_cert("legacy.test")), [PUBLIC])
    assert (usable, finding.severity) == (True, Severity.NOTE)
    expired = authority.issue_cert("legacy.test", not_before=past - timedelta(days=9), not_after=past)
    usable, (finding,) = await reach(await serve(expired), [PRIVATE])
    assert (usable, finding.severity) == (False, Severity.PROBLEM)
    assert "certificate has expired" in finding.what
    usable, (finding,) = await reach(await serve(authority.issue_cert("other.test")), [PRIVATE])
    assert (usable, "Hostname mismatch" in finding.what) == (False, True)


async def test_a_certificate_that_nobody_checks(nursery: trio.Nursery, authority: trustme.CA) -> None:
    """On a public way, whoever is on it has one too."""
    subject = await _over_tls(nursery, authority.issue_cert("other.test"), None, verify=False)
    usable, found = await reach(subject, [PUBLIC])
    assert (usable, [each.severity for each in found]) == (True, [Severity.WARNING, Severity.NOTE])
    _, found = await reach(subject, [PRIVATE])
    assert [each.severity for each in found] == [Severity.NOTE]


async def test_time_is_bounded(nursery: trio.Nursery) -> None:
    """One that accepts and says nothing costs its connect_timeout, and is told."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, _say_nothing, [listener])
    subject = _subject(BackendSettings(address=HostPort("127.0.0.1", listener.socket.getsockname()[1])))
    hasty = replace(subject, pool=Pool(backends=subject.pool.backends, connect_timeout=0.1))
    usable, (finding,) = await reach(hasty, [PRIVATE])
    assert not usable
    assert finding.what.startswith("can't be used: timeout: ")


async def _say_nothing(_: trio.SocketStream) -> None:
    await trio.sleep_forever()
