"""Logging in at one backend and at a pool: in clear, over TLS with the name checked, with fail-over and time-outs."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from tests.gate import HOSTNAME, BackendRecords, pool_of, records
from tests.legacy_server import (
    SECRET,
    USER,
    LegacyServer,
    Script,
    Smtp,
    Talk,
    closing,
    imap,
    late,
    nonsense,
    resetting,
    saying,
    silent,
    slowly,
)
from tlsgate import config
from tlsgate.backends.faults import BackendFault, NoBackend, Reason
from tlsgate.backends.login import BackendSession, NewDialogue, ask, log_in
from tlsgate.backends.pool import Backend
from tlsgate.config import Address, BackendTls, ClientAddress, HostPort, LoginMode
from tlsgate.dialogue.backend import BackendDialogue, NoLogin, Probe, Purpose, SameLogin
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Granted, Refusal, Refused
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.proxy import ProxyHeader
from tlsgate.dialogue.smtp_backend import SmtpBackend

BACKEND_NAME = "legacy.example.net"
LOGIN = SameLogin(Credentials(USER, SECRET.encode()))
AUTHORITY, STRANGER = trustme.CA(), trustme.CA()


def over(dialogue: Callable[..., BackendDialogue]) -> NewDialogue:
    def new(purpose: Purpose, starttls: bool, known: tuple[str, ...]) -> BackendDialogue:
        return dialogue(purpose, starttls=starttls, hostname=HOSTNAME, known=known)

    return new


IMAP, SMTP = over(ImapBackend), over(SmtpBackend)


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; the kernel has a moment to carry what was sent."""
    return MockClock(autojump_threshold=0.03)


async def serving(nursery: trio.Nursery, *scripts: Script, path: Path | None = None) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve, path)
    return server


def dropped(session: BackendSession) -> None:
    session.stream.close()
    session.backend.released()


def backend_at(address: Address, **settings: object) -> Backend:
    built = config.Backend(address=address, **settings)  # type: ignore[arg-type]
    return Backend("pool", built, BackendRecords())


def open_connections(backend: Backend) -> int:
    assert isinstance(backend.trace, BackendRecords)
    assert backend.connections == backend.trace.open
    return backend.connections


async def fault_of(backend: Backend, purpose: Purpose = LOGIN, dialogue: NewDialogue = IMAP) -> BackendFault:
    """How asking the backend fails; nothing of it may stay open."""
    with pytest.raises(BackendFault) as caught:
        dropped(await ask(backend, purpose, dialogue, 5.0))
    assert open_connections(backend) == 0
    assert SECRET not in str(caught.value)
    return caught.value


# -- one backend, in clear -------------------------------------------------------------------------------


async def test_a_right_login_is_granted_and_the_connection_kept(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    backend = backend_at(server.address)
    session = await ask(backend, LOGIN, IMAP, 5.0)
    assert session.outcome.verdict == Granted("Logged in", "CAPABILITY IMAP4rev1 IDLE")
    assert open_connections(backend) == 1
    await session.stream.send(b"x CHECK\r\n")
    assert await session.stream.receive() == b"x OK done CHECK\r\n"
    dropped(session)


async def test_a_wrong_login_is_an_answer_not_a_fault(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    backend = backend_at(server.address)
    session = await ask(backend, SameLogin(Credentials(USER, b"wrong")), IMAP, 5.0)
    assert session.outcome.verdict == Refused(Refusal.AUTHENTICATION_FAILED, "Wrong")
    dropped(session)
    assert backend.up


async def test_a_unix_socket_is_as_good_as_an_address(nursery: trio.Nursery, tmp_path: Path) -> None:
    server = await serving(nursery, imap, path=tmp_path / "legacy")
    session = await ask(backend_at(server.address), LOGIN, IMAP, 5.0)
    assert isinstance(session.outcome.verdict, Granted)
    dropped(session)


async def test_nobody_at_the_unix_socket(tmp_path: Path) -> None:
    fault = await fault_of(backend_at(config.UnixPath(tmp_path / "nobody")))
    assert fault.reason is Reason.CONNECT


async def test_exchange_offers_auth_login_only(nursery: trio.Nursery) -> None:
    server = await serving(nursery, Smtp(keywords=(b"AUTH=LOGIN", b"AUTH LOGIN NTLM", b"SIZE")))
    session = await ask(backend_at(server.address), LOGIN, SMTP, 5.0)
    assert isinstance(session.outcome.verdict, Granted)
    dropped(session)


UNFIT: dict[str, tuple[Script, Reason]] = {
    "closes": (closing, Reason.CLOSED),
    "resets": (resetting, Reason.CONNECT),
    "nonsense": (nonsense, Reason.PROTOCOL),
    "preauth": (saying(b"* PREAUTH legacy\r\n"), Reason.PROTOCOL),
    "bye": (saying(b"* BYE busy\r\n"), Reason.PROTOCOL),
    "endless line": (saying(b"* OK " + b"x" * 100_000), Reason.PROTOCOL),
    "flood": (saying(b"* OK legacy\r\n", b"* NOTHING\r\n" * 1000), Reason.PROTOCOL),
    "another tag": (saying(b"* OK legacy\r\n", b"zz OK Logged in\r\n"), Reason.PROTOCOL),
    "bad": (saying(b"* OK legacy\r\n", b"TAG BAD what?\r\n"), Reason.PROTOCOL),
    "answer before the question": (saying(b"* OK legacy\r\na OK Logged in\r\n"), Reason.PROTOCOL),
}


@pytest.mark.parametrize("kind", UNFIT)
async def test_an_unfit_backend_is_a_fault(nursery: trio.Nursery, kind: str) -> None:
    script, reason = UNFIT[kind]
    server = await serving(nursery, script)
    assert (await fault_of(backend_at(server.address))).reason is reason


async def test_nobody_listens() -> None:
    with socket.socket() as bound:  # bound but not listening: no one else gets the port
        bound.bind(("127.0.0.1", 0))
        fault = await fault_of(backend_at(HostPort(*bound.getsockname())))
    assert fault.reason is Reason.CONNECT


async def test_a_name_that_does_not_exist() -> None:
    fault = await fault_of(backend_at(HostPort("backend.invalid", 143)))
    assert fault.reason is Reason.CONNECT


async def test_a_backend_that_repeats_the_password_puts_it_in_no_fault(nursery: trio.Nursery) -> None:
    async def echoing(talk: Talk) -> None:
        await talk.say(b"* OK legacy\r\n")
        line = await talk.line()
        await talk.say(line.split(b" ")[0] + b" BAD unknown command: " + line + b"\r\n")
        await talk.silence()

    server = await serving(nursery, echoing)
    fault = await fault_of(backend_at(server.address))
    assert SECRET[:6] not in str(fault)


# -- time ------------------------------------------------------------------------------------------------


async def test_a_silent_backend_has_connect_timeout(clock: MockClock, nursery: trio.Nursery) -> None:
    server = await serving(nursery, silent)
    began = trio.current_time()
    assert (await fault_of(backend_at(server.address))).reason is Reason.TIMEOUT
    assert 5.0 <= trio.current_time() - began < 5.5


async def test_a_backend_may_take_its_time_over_a_password(clock: MockClock, nursery: trio.Nursery) -> None:
    """Servers hold back the answer to a wrong password for longer than a connection may take."""

    async def thinking(talk: Talk) -> None:
        await talk.say(b"* OK legacy\r\n")
        tag = (await talk.line()).split(b" ")[0]
        await trio.sleep(25)
        await talk.say(tag + b" NO [AUTHENTICATIONFAILED] Wrong\r\n")

    server = await serving(nursery, thinking)
    session = await ask(backend_at(server.address), LOGIN, IMAP, 5.0)
    assert session.outcome.verdict == Refused(Refusal.AUTHENTICATION_FAILED, "Wrong")
    dropped(session)


async def test_a_backend_that_never_answers_is_given_up(clock: MockClock, nursery: trio.Nursery) -> None:
    server = await serving(nursery, saying(b"* OK legacy\r\n"))
    began = trio.current_time()
    assert (await fault_of(backend_at(server.address))).reason is Reason.TIMEOUT
    assert trio.current_time() - began < 31


async def test_a_byte_a_second_is_too_slow(clock: MockClock, nursery: trio.Nursery) -> None:
    server = await serving(nursery, slowly(imap, 1.0))
    assert (await fault_of(backend_at(server.address))).reason is Reason.TIMEOUT


async def test_it_ends_before_the_callers_deadline(clock: MockClock, nursery: trio.Nursery) -> None:
    """Otherwise nobody could tell the client why it isn't served."""
    server = await serving(nursery, silent)
    with trio.fail_after(3.0):
        assert (await fault_of(backend_at(server.address))).reason is Reason.TIMEOUT


async def test_cancelling_leaves_nothing_open(nursery: trio.Nursery) -> None:
    server = await serving(nursery, silent)
    backend = backend_at(server.address)
    async with trio.open_nursery() as asking:
        asking.start_soon(ask, backend, LOGIN, IMAP, 5.0)
        await server.called.wait()
        assert open_connections(backend) == 1
        asking.cancel_scope.cancel()
    assert open_connections(backend) == 0
    await server.talks[0].cut.wait()


# -- TLS -------------------------------------------------------------------------------------------------


def server_tls(name: str = BACKEND_NAME) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


def implicit(script: Script, context: ssl.SSLContext) -> Script:
    async def secured(talk: Talk) -> None:
        await talk.start_tls(context)
        await script(talk)

    return secured


def starttls(script: Script, context: ssl.SSLContext, behind: bytes = b"") -> Script:
    """IMAP with STARTTLS. ``behind``: octets in the segment of the answer."""

    async def secured(talk: Talk) -> None:
        await talk.say(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] legacy\r\n")
        tag = (await talk.line()).split(b" ")[0]
        await talk.say(tag + b" OK go\r\n" + behind)
        await talk.start_tls(context)
        await script(talk)

    return secured


async def behind_greeting(talk: Talk) -> None:
    """IMAP after STARTTLS: no second greeting."""
    tag = (await talk.line()).split(b" ")[0]
    await talk.say(tag + b" OK in\r\n")
    await talk.silence()


TLS: dict[BackendTls, Callable[[ssl.SSLContext], Script]] = {
    BackendTls.IMPLICIT: partial(implicit, imap),
    BackendTls.STARTTLS: partial(starttls, behind_greeting),
}


@contextmanager
def trusted(authority: trustme.CA, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    yield path


@pytest.mark.parametrize("mode", TLS)
async def test_the_right_name_from_the_right_ca(nursery: trio.Nursery, tmp_path: Path, mode: BackendTls) -> None:
    server = await serving(nursery, TLS[mode](server_tls()))
    with trusted(AUTHORITY, tmp_path) as ca:
        backend = backend_at(server.address, tls=mode, ca=ca, server_name=BACKEND_NAME)
    session = await ask(backend, LOGIN, IMAP, 5.0)
    assert isinstance(session.outcome.verdict, Granted)
    dropped(session)


@pytest.mark.parametrize("mode", TLS)
@pytest.mark.parametrize("kind", ["wrong name", "no name given", "unknown ca"])
async def test_anybody_else_gets_no_credentials(
    nursery: trio.Nursery, tmp_path: Path, mode: BackendTls, kind: str
) -> None:
    server = await serving(nursery, TLS[mode](server_tls()))
    with trusted(STRANGER if kind == "unknown ca" else AUTHORITY, tmp_path) as ca:
        name = {"wrong name": "other.example.net", "no name given": "", "unknown ca": BACKEND_NAME}[kind]
        backend = backend_at(server.address, tls=mode, ca=ca, server_name=name)
    fault = await fault_of(backend)
    assert fault.reason is Reason.TLS
    assert "certificate refused" in fault.text
    await server.talks[0].cut.wait()
    assert SECRET.encode() not in server.talks[0].heard


@pytest.mark.parametrize("mode", TLS)
async def test_an_unknown_ca_of_the_system_is_refused_by_default(nursery: trio.Nursery, mode: BackendTls) -> None:
    server = await serving(nursery, TLS[mode](server_tls("127.0.0.1")))
    assert (await fault_of(backend_at(server.address, tls=mode))).reason is Reason.TLS


@pytest.mark.parametrize("mode", TLS)
async def test_verify_false_takes_anybody(nursery: trio.Nursery, mode: BackendTls) -> None:
    server = await serving(nursery, TLS[mode](server_tls("other.example.net")))
    session = await ask(backend_at(server.address, tls=mode, verify=False), LOGIN, IMAP, 5.0)
    assert isinstance(session.outcome.verdict, Granted)
    dropped(session)


async def test_an_old_tls_version_is_refused_by_default(nursery: trio.Nursery) -> None:
    context = server_tls()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    server = await serving(nursery, implicit(imap, context))
    backend = backend_at(server.address, tls=BackendTls.IMPLICIT, verify=False)
    assert (await fault_of(backend)).reason is Reason.TLS


STRIPPED = {
    "no STARTTLS": saying(b"* OK [CAPABILITY IMAP4rev1] legacy\r\n"),
    "STARTTLS refused": saying(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] legacy\r\n", b"TAG NO not now\r\n"),
    "injected behind": starttls(behind_greeting, server_tls(), behind=b"TAG OK in\r\n"),
}


@pytest.mark.parametrize("kind", STRIPPED)
async def test_a_backend_without_starttls_gets_no_credentials(nursery: trio.Nursery, kind: str) -> None:
    server = await serving(nursery, STRIPPED[kind])
    fault = await fault_of(backend_at(server.address, tls=BackendTls.STARTTLS, verify=False))
    assert fault.reason is Reason.PROTOCOL
    await server.talks[0].cut.wait()
    assert SECRET.encode() not in server.talks[0].heard


async def test_a_reset_where_the_handshake_should_begin_is_a_fault(nursery: trio.Nursery) -> None:
    async def cutting(talk: Talk) -> None:
        await talk.say(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] legacy\r\n")
        tag = (await talk.line()).split(b" ")[0]
        await talk.say(tag + b" OK go\r\n")
        talk.reset()

    server = await serving(nursery, cutting)
    fault = await fault_of(backend_at(server.address, tls=BackendTls.STARTTLS, verify=False))
    assert fault.reason in (Reason.TLS, Reason.CLOSED)


async def test_plain_text_where_tls_is_due(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    assert (await fault_of(backend_at(server.address, tls=BackendTls.IMPLICIT, verify=False))).reason is Reason.TLS


# -- a pool ----------------------------------------------------------------------------------------------


async def test_a_pool_fails_over_to_the_next_backend(nursery: trio.Nursery) -> None:
    first, second = await serving(nursery, closing), await serving(nursery, imap)
    pool = pool_of(first.address, second.address)
    session = await log_in(pool, LOGIN, IMAP)
    assert session.backend is pool.backends[1]
    assert records(pool).failures == ["closed"]
    assert not pool.backends[0].up
    assert pool.backends[1].up
    dropped(session)


async def test_a_refusal_is_not_failed_over(nursery: trio.Nursery) -> None:
    """Else one wrong password would count twice, and the second backend might even take it."""
    first, second = await serving(nursery, imap), await serving(nursery, imap)
    session = await log_in(pool_of(first.address, second.address), SameLogin(Credentials(USER, b"wrong")), IMAP)
    assert isinstance(session.outcome.verdict, Refused)
    assert not second.talks
    dropped(session)


async def test_no_backend_says_why_of_the_last_one(nursery: trio.Nursery) -> None:
    first, second = await serving(nursery, closing), await serving(nursery, nonsense)
    pool = pool_of(first.address, second.address)
    with pytest.raises(NoBackend, match=f"^{second.address}: protocol: "):
        await log_in(pool, LOGIN, IMAP)
    assert sum(map(open_connections, pool.backends)) == 0


async def test_a_backend_that_serves_again_is_marked_up(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    pool = pool_of(server.address)
    pool.backends[0].mark(up=False, why="was away")
    dropped(await log_in(pool, LOGIN, IMAP))
    assert pool.backends[0].up


async def test_a_login_that_breaks_the_protocol_does_not_mark_the_backend_down(nursery: trio.Nursery) -> None:
    """It may be this client's doing: a name that the backend can't stand must not cost the others their backend."""
    server = await serving(nursery, saying(b"* OK legacy\r\n", b"TAG BAD what?\r\n"))
    pool = pool_of(server.address)
    with pytest.raises(NoBackend):
        await log_in(pool, LOGIN, IMAP)
    assert pool.backends[0].up


async def test_a_backend_that_closes_on_credentials_is_not_marked_down(nursery: trio.Nursery) -> None:
    async def cutting(talk: Talk) -> None:
        await talk.say(b"* OK legacy\r\n")
        await talk.line()

    server = await serving(nursery, cutting)
    pool = pool_of(server.address)
    with pytest.raises(NoBackend):
        await log_in(pool, LOGIN, IMAP)
    assert pool.backends[0].up


async def test_a_client_in_its_last_seconds_does_not_mark_a_backend_down(
    clock: MockClock, nursery: trio.Nursery
) -> None:
    """Who logs in a moment before login_timeout gives a healthy backend too little time; that is not its fault."""
    server = await serving(nursery, late(imap, 2.0))
    pool = pool_of(server.address)
    with trio.fail_after(1.0), pytest.raises(NoBackend):
        await log_in(pool, LOGIN, IMAP)
    assert pool.backends[0].up


async def test_our_own_shortage_of_descriptors_does_not_mark_a_backend_down(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    pool = pool_of(server.address)
    with no_descriptors(), pytest.raises(NoBackend):
        await log_in(pool, LOGIN, IMAP)
    assert pool.backends[0].up
    assert records(pool).failures == ["capacity"]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open no descriptor more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_no_more_connections_than_a_backend_may_have(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    pool = pool_of(server.address, connections=2)
    held = [await log_in(pool, LOGIN, IMAP) for _ in range(2)]
    with pytest.raises(NoBackend, match="every backend is at its connection limit"):
        await log_in(pool, LOGIN, IMAP)
    dropped(held.pop())
    dropped(await log_in(pool, LOGIN, IMAP))
    dropped(held.pop())


async def test_the_cap_holds_for_a_backend_that_is_tried_second(nursery: trio.Nursery) -> None:
    """Others may have taken its last place while the first was tried."""
    let = trio.Event()

    async def hanging(talk: Talk) -> None:
        await let.wait()

    first, second = await serving(nursery, hanging), await serving(nursery, imap)
    pool = pool_of(first.address, second.address, connections=1)
    faults: list[NoBackend] = []

    async def late_comer() -> None:
        try:
            dropped(await log_in(pool, LOGIN, IMAP))
        except NoBackend as fault:
            faults.append(fault)

    async with trio.open_nursery() as trying:
        trying.start_soon(late_comer)
        await first.called.wait()
        held = await log_in(pool, LOGIN, IMAP)
        assert held.backend is pool.backends[1]
        let.set()
    assert len(faults) == 1
    assert len(second.talks) == 1
    dropped(held)


async def test_a_probe_needs_no_credentials(nursery: trio.Nursery) -> None:
    server = await serving(nursery, imap)
    session = await ask(backend_at(server.address), Probe(), IMAP, 5.0)
    assert session.outcome.verdict is None
    assert session.outcome.capabilities == ("IMAP4rev1", "IDLE")
    dropped(session)


# -- who the client is -----------------------------------------------------------------------------------

CLIENT = ClientFacts(
    Endpoint(IPv4Address("203.0.113.7"), 4711), Endpoint(IPv4Address("192.0.2.1"), 993), "Ab3x", helo="client.example"
)
TELLING = SameLogin(LOGIN.credentials, CLIENT)
PROXY = [ClientAddress.PROXY_V1, ClientAddress.PROXY_V2]
XCLIENT = Smtp({b"XCLIENT": b"220 legacy\r\n"}, keywords=(b"AUTH PLAIN", b"XCLIENT ADDR PORT NAME HELO PROTO LOGIN"))


def telling(how: ClientAddress, address: Address, **settings: object) -> Backend:
    built = config.Backend(address=address, **settings)  # type: ignore[arg-type]
    return Backend("pool", built, BackendRecords(), client_address=how)


def noted(backend: Backend) -> list[tuple[int, str]]:
    """What is told of clients that it doesn't take."""
    told: list[tuple[int, str]] = []
    backend.on_not_told = lambda _, version, why: told.append((version, why))
    return told


def behind(script: Script, headers: list[ProxyHeader]) -> Script:
    """The same script, behind a PROXY header that is kept in ``headers``."""

    async def proxied(talk: Talk) -> None:
        headers.append(await talk.proxy_header())
        await script(talk)

    return proxied


@pytest.mark.parametrize("how", PROXY)
@pytest.mark.parametrize("mode", list(BackendTls))
async def test_the_proxy_header_is_the_first_thing_said(
    nursery: trio.Nursery, how: ClientAddress, mode: BackendTls
) -> None:
    """Behind TLS's first octet, or twice, it is garbage to the backend."""
    script = imap if mode is BackendTls.NONE else TLS[mode](server_tls())
    headers: list[ProxyHeader] = []
    server = await serving(nursery, behind(script, headers))
    backend = telling(how, server.address, tls=mode, verify=False)
    session = await ask(backend, TELLING, IMAP, 5.0)
    assert isinstance(session.outcome.verdict, Granted)
    ids = ((5, b"Ab3x"),) if how is ClientAddress.PROXY_V2 else ()
    assert [(each.source, each.destination, each.tlvs) for each in headers] == [
        (CLIENT.source, CLIENT.destination, ids)
    ]
    assert b" ID " not in server.talks[0].heard  # told by the header alone
    assert session.purpose == TELLING  # another connection of this session tells it again
    dropped(session)


@pytest.mark.parametrize("how", PROXY)
async def test_a_client_of_a_unix_socket_has_no_address(nursery: trio.Nursery, how: ClientAddress) -> None:
    """The addresses of our own connection aren't its."""
    headers: list[ProxyHeader] = []
    server = await serving(nursery, behind(imap, headers))
    local = SameLogin(LOGIN.credentials, ClientFacts(None, None, "Ab3x"))
    dropped(await ask(telling(how, server.address), local, IMAP, 5.0))
    assert [(each.source, each.destination, each.tlvs) for each in headers] == [(None, None, ())]


async def test_a_header_for_a_backend_on_a_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    headers: list[ProxyHeader] = []
    server = await serving(nursery, behind(imap, headers), path=tmp_path / "legacy")
    backend = telling(ClientAddress.PROXY_V1, server.address)
    dropped(await ask(backend, TELLING, IMAP, 5.0))
    dropped(await ask(backend, Probe(), IMAP, 5.0))
    assert [each.source for each in headers] == [CLIENT.source, None]


@pytest.mark.parametrize("purpose", [TELLING, Probe()], ids=["login", "probe"])
async def test_nobody_there_to_send_the_header_to(purpose: Purpose) -> None:
    fault = await fault_of(telling(ClientAddress.PROXY_V1, HostPort("127.0.0.1", 1)), purpose)
    assert (fault.reason, fault.down) == (Reason.CONNECT, True)


async def test_a_pool_that_needs_no_login_takes_the_header_too(nursery: trio.Nursery) -> None:
    headers: list[ProxyHeader] = []
    server = await serving(nursery, behind(Smtp(), headers))
    session = await ask(telling(ClientAddress.PROXY_V2, server.address), NoLogin(CLIENT), SMTP, 5.0)
    assert isinstance(session.outcome.verdict, Granted)
    assert headers[0].source == CLIENT.source
    dropped(session)


async def test_a_backend_that_takes_no_xclient_is_told_of_once(nursery: trio.Nursery) -> None:
    """The login stands; its operator learns that all mail there seems to come from us."""
    server = await serving(nursery, Smtp(), Smtp(), XCLIENT, Smtp())
    backend = telling(ClientAddress.XCLIENT, server.address)
    told = noted(backend)
    for count in (1, 1, 1, 2):
        session = await ask(backend, TELLING, SMTP, 5.0)
        assert isinstance(session.outcome.verdict, Granted)
        assert len(told) == count
        dropped(session)
    version, why = told[0]
    assert version == 4
    assert "smtpd_authorized_xclient_hosts" in why


async def test_a_refused_login_says_nothing_of_it(nursery: trio.Nursery) -> None:
    """A wrong password at a server that isn't asked who the client is would be taken for one that can't be told."""
    server = await serving(nursery, XCLIENT)
    backend = telling(ClientAddress.XCLIENT, server.address)
    told = noted(backend)
    long = NoLogin(ClientFacts(CLIENT.source, CLIENT.destination, login="u" * 500))
    for purpose in (long, SameLogin(Credentials(USER, b"wrong"), CLIENT)):
        session = await ask(backend, purpose, SMTP, 5.0)
        assert isinstance(session.outcome.verdict, Refused)
        dropped(session)
    assert told == []


async def test_a_backend_that_would_take_its_mail_for_ours_is_not_used(nursery: trio.Nursery) -> None:
    """It is told by its own words what to do; others are asked, and it isn't down: to other pools it may be fine."""
    server, other = await serving(nursery, Smtp()), await serving(nursery, XCLIENT)
    pool = pool_of(server.address, other.address, login=LoginMode.NONE, client_address=ClientAddress.XCLIENT)
    told = noted(pool.backends[0])
    for _ in range(2):
        session = await log_in(pool, NoLogin(CLIENT), SMTP)
        assert session.backend is pool.backends[1]
        dropped(session)
    assert len(told) == 1
    assert pool.backends[0].up
    alone = pool_of(server.address, login=LoginMode.NONE, client_address=ClientAddress.XCLIENT)
    with pytest.raises(NoBackend, match=r"doesn't take XCLIENT.*smtpd_authorized_xclient_hosts"):
        await log_in(alone, NoLogin(CLIENT), SMTP)
    assert records(alone).failures == ["protocol"]
