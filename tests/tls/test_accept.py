"""A client's handshake over a real socket: what is agreed on, what is refused and how (cases A17 to A22)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from trio.testing import wait_all_tasks_blocked

from tests.tls import hellos
from tests.tls.conftest import Pki
from tests.tls.peer import Client, Visitor, accept, connected_pair, hello_of, in_records, meet
from tlsgate.config import Protocol
from tlsgate.tls.accept import accept_tls, tls_facts
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.stream import StreamLost, TlsStream
from tlsgate.tls.waits import waits

TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
TLS13 = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
ALERT_PROTOCOL_VERSION, ALERT_UNRECOGNIZED_NAME, ALERT_RECORD_OVERFLOW = 70, 112, 22


@pytest.fixture(params=["plain", "named"])
def contexts(request: pytest.FixtureRequest, pki: Pki) -> ServerContexts:
    """Without names OpenSSL sees the socket first; with them the ClientHello is looked at before."""
    chosen: ServerContexts = request.getfixturevalue(f"{request.param}_contexts")
    return chosen


# -- facts -------------------------------------------------------------------------------------------


async def test_facts_of_tls13(contexts: ServerContexts) -> None:
    """The post-quantum group is the first choice of a client that has it; it is worth showing."""
    met = await meet(contexts, Visitor(), b"mail.example.net")
    facts = tls_facts(met.stream)
    assert (facts.version, facts.cipher) == ("TLSv1.3", "TLS_AES_128_GCM_SHA256")
    assert (facts.group, facts.sni) == ("X25519MLKEM768", "mail.example.net")
    met.close()


async def test_facts_of_tls12(contexts: ServerContexts) -> None:
    met = await meet(contexts, Visitor(versions=TLS12))
    facts = tls_facts(met.stream)
    assert (facts.version, facts.cipher) == ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
    assert (facts.group, facts.sni) == ("x25519", None)
    met.close()


async def test_the_group_of_a_client_that_has_only_an_old_one(contexts: ServerContexts) -> None:
    visitor = Visitor(versions=TLS13)
    visitor.context.set_tmp_ecdh(ec.SECP256R1())
    met = await meet(contexts, visitor)
    assert tls_facts(met.stream).group == "secp256r1"
    met.close()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"Mail.Example.NET", "Mail.Example.NET"),
        (b"a\r\nb\x1b[2J c", r"a\x0d\x0ab\x1b[2J\x20c"),
        ("bücher.example".encode(), r"b\xc3\xbccher.example"),
        (b"\xff" * 255, (r"\xff" * 64)[:255]),
        (b"a" * 255, "a" * 255),
    ],
)
async def test_the_name_in_the_facts_is_printable_and_bounded(
    contexts: ServerContexts, sent: bytes, shown: str
) -> None:
    """A line end or an escape sequence in it would forge log lines or drive an operator's terminal."""
    met = await meet(contexts, Visitor(), sent)
    assert tls_facts(met.stream).sni == shown
    met.close()


# -- the name (A19) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, b"unknown.example", b"\xff\xfe", b".", b"[::1]", b"*"])
async def test_a_name_that_is_not_ours_gets_the_default_certificate(
    named_contexts: ServerContexts, name: bytes | None
) -> None:
    met = await meet(named_contexts, Visitor(), name)
    assert met.stream
    assert met.client.leaf() == named_contexts.certificates[0].chain[0]
    met.close()


@pytest.mark.parametrize("name", [b"a" * 300, b"mail.example.net\0.evil.example", b"\0"])
async def test_a_name_that_openssl_finds_malformed_is_answered_by_an_alert(
    contexts: ServerContexts, name: bytes
) -> None:
    hello = hellos.client_hello([(hellos.SERVER_NAME, hellos.server_name(name))])
    lost, answer = await _answered(contexts, hello)
    assert _alert(answer) == ALERT_UNRECOGNIZED_NAME
    assert lost.isprintable()
    assert len(lost) < 60


@pytest.mark.parametrize("size", [1, 50, 16384])
@pytest.mark.parametrize("versions", [TLS12, TLS13])
async def test_a_hello_cut_into_small_records_still_gets_its_names_certificate(
    named_contexts: ServerContexts, versions: tuple[int, int], size: int
) -> None:
    """TLS 1.2 clients keep their hello small: in records of one octet it needs no more looks than there are."""
    client, hello = hello_of(Visitor(versions=versions), b"mail.example.net")
    near, far = connected_pair()
    async with trio.open_nursery() as nursery:
        accepted: list[TlsStream | StreamLost] = []

        async def serve() -> None:
            accepted.append(await accept(far, named_contexts))

        nursery.start_soon(serve)
        near.send(in_records(hello, size))
        with trio.fail_after(10):
            await _finish(near, client)
    assert isinstance(accepted[0], TlsStream), accepted
    assert client.leaf() == named_contexts.certificates[1].chain[0]
    near.close()
    far.close()


class _Steps(trio.abc.Instrument):
    """Counts how often a task was run."""

    def __init__(self, task_name: str) -> None:
        self.task_name = task_name
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name.endswith(self.task_name)


async def test_a_dribbled_hello_costs_a_few_wake_ups_and_gets_its_names_certificate(
    named_contexts: ServerContexts,
) -> None:
    """One for each octet would let a slow client buy a parse of all that came before for a single octet."""
    client, hello = hello_of(Visitor(versions=TLS12), b"mail.example.net")
    near, far = connected_pair()
    steps = _Steps("dribbled")
    accepted: list[TlsStream | StreamLost] = []

    async def dribbled() -> None:
        accepted.append(await accept(far, named_contexts))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribbled)
        trio.lowlevel.add_instrument(steps)
        for octet in hello:
            near.send(bytes([octet]))
            await wait_all_tasks_blocked()
        with trio.fail_after(10):
            await _finish(near, client)
    assert isinstance(accepted[0], TlsStream)
    assert client.leaf() == named_contexts.certificates[1].chain[0]
    assert steps.count < 10
    near.close()
    far.close()


async def test_a_hello_that_comes_in_one_tiny_record_after_another_is_taken_as_nameless(
    named_contexts: ServerContexts,
) -> None:
    """Each look reads all records before it: thousands of looks would be seconds of the processor's for 16 KiB."""
    client, hello = hello_of(Visitor(versions=TLS12), b"mail.example.net")
    near, far = connected_pair()
    accepted: list[TlsStream | StreamLost] = []

    async def serve() -> None:
        accepted.append(await accept(far, named_contexts))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        for octet in hello[5:]:
            near.send(hello[:3] + b"\0\1" + bytes([octet]))
            await wait_all_tasks_blocked()
        with trio.fail_after(10):
            await _finish(near, client)
    assert isinstance(accepted[0], TlsStream), accepted
    assert client.leaf() == named_contexts.certificates[0].chain[0]
    near.close()
    far.close()


async def test_a_short_message_wakes_the_stream_after_a_dribbled_hello(named_contexts: ServerContexts) -> None:
    """The low-water mark that spares wake-ups must be gone, else a short command waits for ever."""
    client, hello = hello_of(Visitor(), b"mail.example.net")
    near, far = connected_pair()

    async def serve() -> None:
        stream = await accept(far, named_contexts)
        assert isinstance(stream, TlsStream)
        assert await stream.receive() == b"x"
        assert far.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            near.send(hello[:100])
            await wait_all_tasks_blocked()
            near.send(hello[100:])
            await _finish(near, client)
            client.connection.send(b"x")
            near.send(client.connection.bio_read(65536))
    near.close()
    far.close()


# -- ALPN (A18) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (Protocol.IMAP, b"imap"),
        (Protocol.POP3, b"pop3"),
        (Protocol.SUBMISSION, b"smtp"),
        (Protocol.MX, b"smtp"),
    ],
)
@pytest.mark.parametrize("versions", [TLS12, TLS13])
async def test_alpn_agrees_on_the_listeners_protocol_only(
    plain_contexts: ServerContexts, protocol: Protocol, name: bytes, versions: tuple[int, int]
) -> None:
    own = await meet(plain_contexts, Visitor(versions=versions, alpn=[b"h2", name]), protocol=protocol)
    assert own.stream
    assert own.client.connection.get_alpn_proto_negotiated() == name
    none = await meet(plain_contexts, Visitor(versions=versions), protocol=protocol)
    assert none.stream
    assert none.client.connection.get_alpn_proto_negotiated() == b""
    others = [each for each in (b"imap", b"pop3", b"smtp", b"h2", b"http/1.1", b"") if each != name]
    foreign = await meet(plain_contexts, Visitor(versions=versions, alpn=others[:-1]), protocol=protocol)
    assert foreign.lost == "no application protocol"
    assert "no application protocol" in foreign.alert
    for met in (own, none, foreign):
        met.close()


async def test_a_refusal_by_alpn_is_quiet_and_harms_no_other_connection(
    plain_contexts: ServerContexts, capfd: pytest.CaptureFixture[str]
) -> None:
    """pyOpenSSL may print what a callback raises: a line on stderr for every scanner."""
    under_way = await meet(plain_contexts, Visitor())
    stream = under_way.stream
    for _ in range(3):
        foreign = await meet(plain_contexts, Visitor(alpn=[b"h2"]))
        assert foreign.lost == "no application protocol"
        foreign.close()
    await under_way.client.send(b"still here")
    assert await stream.receive() == b"still here"
    assert capfd.readouterr() == ("", "")
    under_way.close()


# -- what is no TLS, or TLS that isn't wanted (A17, A20, A21) -----------------------------------------


@pytest.mark.parametrize("version", [b"\x03\x00", b"\x03\x01", b"\x03\x02"])
async def test_old_versions_are_refused_by_an_alert(contexts: ServerContexts, version: bytes) -> None:
    lost, answer = await _answered(contexts, hellos.client_hello(version=version, suites=b"\xc0\x09\xc0\x13\x00\x2f"))
    assert lost in ("unsupported protocol", "version too low")
    assert _alert(answer) == ALERT_PROTOCOL_VERSION


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37),  # SSLv2
        b"GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\na LOGIN user password\r\n",
        b"a LOGIN user password\r\n",
        b"EHLO client.example\r\nMAIL FROM:<>\r\n",
        bytes(100),
        b"\xff" * 100,
        hellos.record(23, b"application data before any hello"),
        hellos.record(22, b"\x02\0\0\0"),
        hellos.record(22, b"\x01\xff\xff\xff" + bytes(16000)) * 20,
    ],
)
async def test_what_is_no_hello_is_refused(contexts: ServerContexts, data: bytes) -> None:
    lost, _ = await _answered(contexts, data)
    assert lost.isprintable()
    assert "password" not in lost


async def test_a_record_over_its_bound_is_refused(contexts: ServerContexts) -> None:
    """RFC 8446 5.1: 2^14 octets of text; more in a ClientHello's record is an overflow at once."""
    lost, answer = await _answered(contexts, b"\x16\x03\x01\x48\x01" + b"\x01" + bytes(18000))
    assert "length too long" in lost
    assert _alert(answer) == ALERT_RECORD_OVERFLOW


async def test_a_record_over_its_bound_is_refused_after_the_handshake(contexts: ServerContexts) -> None:
    met = await meet(contexts, Visitor())
    assert met.client.socket is not None
    met.client.socket.send(b"\x17\x03\x03\x42\x00" + bytes(0x4200))
    with pytest.raises(StreamLost), trio.fail_after(10):
        await met.stream.receive()
    met.close()


async def test_plain_text_after_the_handshake_is_refused(contexts: ServerContexts) -> None:
    met = await meet(contexts, Visitor())
    assert met.client.socket is not None
    met.client.socket.send(b"a LOGIN user password\r\n")
    with pytest.raises(StreamLost) as raised, trio.fail_after(10):
        await met.stream.receive()
    assert "password" not in raised.value.reason
    met.close()


async def test_compression_is_never_agreed_on(contexts: ServerContexts) -> None:
    """CRIME: the ServerHello's compression method follows its 32 random octets, session id and suite."""
    _, answer = await _answered(contexts, hellos.client_hello(compression=b"\x01\x40\x00"))
    assert answer[0] == 22
    server_hello = answer[9:]
    after_session = 34 + 1 + server_hello[34]
    assert server_hello[after_session + 2] == 0


async def test_early_data_is_never_read(contexts: ServerContexts) -> None:
    """0-RTT data can be replayed: a login in it would be carried out twice."""
    early = hellos.record(23, b"a LOGIN user password\r\n" + bytes(16000), b"\x03\x03")
    lost, _ = await _answered(contexts, hellos.client_hello_13([(hellos.EARLY_DATA, b"")]) + early * 3)
    assert lost == "too much early data"


async def test_renegotiation_is_refused(contexts: ServerContexts) -> None:
    """It costs the client nothing and us a handshake, and it once let another's commands be put in front."""
    met = await meet(contexts, Visitor(versions=TLS12))
    connection = met.client.connection
    assert connection.renegotiate()
    finished = trio.Event()

    async def serve() -> None:
        with pytest.raises(StreamLost):
            while await met.stream.receive():
                pass
            raise StreamLost("closed")
        finished.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(SSL.Error) as raised:
                await met.client.handshake()
            assert "no renegotiation" in str(raised.value)
            assert met.client.socket is not None
            met.client.socket.close()
            await finished.wait()
    assert met.stream.connection.total_renegotiations() == 0
    met.stream.close()


# -- stalls and ends in the handshake (A21) ----------------------------------------------------------


async def test_a_handshake_that_ends_after_any_octet_fails_at_once(contexts: ServerContexts) -> None:
    await _cut_everywhere(contexts, lambda near: near.shutdown(socket.SHUT_WR), stalls=False)


async def test_a_handshake_that_stalls_after_any_octet_waits_and_leaves_nothing_behind(
    contexts: ServerContexts, autojump_clock: object
) -> None:
    """The caller's deadline ends it: no descriptor stays open, and nothing spins meanwhile."""
    await _cut_everywhere(contexts, lambda near: None, stalls=True)


async def _cut_everywhere(contexts: ServerContexts, cut: Callable[[socket.socket], None], *, stalls: bool) -> None:
    """Play a TLS 1.2 client's octets up to each of a spread of places, in both of its flights, then ``cut``."""
    waits()  # which has one of its own
    before = _descriptors()
    for flight in (1, 2):
        _, first = hello_of(Visitor(versions=TLS12), b"mail.example.net")
        length = len(first) if flight == 1 else 93
        for at in {*range(12), *range(12, length, 7), length - 1}:
            near, far = connected_pair()
            client, hello = hello_of(Visitor(versions=TLS12), b"mail.example.net")
            outcome: list[TlsStream | StreamLost] = []

            async def serve(far: socket.socket = far, outcome: list[TlsStream | StreamLost] = outcome) -> None:
                with trio.move_on_after(30):
                    outcome.append(await accept(far, contexts))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                if flight == 1:
                    near.send(hello[:at])
                else:
                    near.send(hello)
                    near.send((await _second_flight(near, client))[:at])
                cut(near)
            assert not outcome if stalls else _lost(outcome) == "unexpected eof", (flight, at, outcome)
            near.close()
            far.close()
    assert _descriptors() == before


async def test_a_reset_in_the_handshake(contexts: ServerContexts) -> None:
    near, far = connected_pair()
    near.send(b"\x16\x03\x01")
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    near.close()
    with pytest.raises(StreamLost) as raised, trio.fail_after(10):
        await accept_tls(far, contexts, Protocol.IMAP)
    assert raised.value.reason.lower() in ("econnreset", "connection reset by peer")
    far.close()


# -- tickets (A22) -----------------------------------------------------------------------------------


async def _ticket(
    contexts: ServerContexts, visitor: Visitor, name: bytes | None, protocol: Protocol = Protocol.IMAP
) -> SSL.Session:
    """A session to resume: TLS 1.3 sends tickets behind the handshake."""
    met = await meet(contexts, visitor, name, protocol=protocol)
    await met.stream.send(b"x")
    assert await met.client.receive() == b"x"
    session = met.client.connection.get_session()
    assert session is not None
    await met.client.end()  # OpenSSL's client forgets a session that broke off
    met.close()
    return session


async def _resumes(
    contexts: ServerContexts, visitor: Visitor, name: bytes | None, protocol: Protocol, session: SSL.Session
) -> bool:
    visitor.verified = 0
    met = await meet(contexts, visitor, name, protocol=protocol, session=session)
    assert met.stream
    met.close()
    return visitor.verified == 0


@pytest.mark.parametrize("versions", [TLS12, TLS13])
async def test_a_ticket_counts_where_it_was_given_and_nowhere_else(pki: Pki, versions: tuple[int, int]) -> None:
    """ALPACA's heart: a session begun with one service, carried on with another."""
    contexts = ServerContexts(
        pki.tls(pki.sni("net", "mail.example.net", "*.example.net"), pki.sni("com", "mail.example.com")),
        [Protocol.IMAP, Protocol.POP3, Protocol.SUBMISSION],
    )
    visitor = Visitor(versions=versions)
    name, imap = b"mail.example.net", Protocol.IMAP
    session = await _ticket(contexts, visitor, name)
    assert await _resumes(contexts, visitor, name, imap, session)
    for other in (Protocol.SUBMISSION, Protocol.POP3):
        session = await _ticket(contexts, visitor, name)
        assert not await _resumes(contexts, visitor, name, other, session)
    for stranger in (b"mail.example.com", b"other.example.net", b"mail.example.org", None):
        session = await _ticket(contexts, visitor, name)
        assert not await _resumes(contexts, visitor, stranger, imap, session), stranger


@pytest.mark.parametrize("versions", [TLS12, TLS13])
async def test_a_ticket_of_before_a_reload_leads_to_a_full_handshake(pki: Pki, versions: tuple[int, int]) -> None:
    tls = pki.tls()
    visitor = Visitor(versions=versions)
    session = await _ticket(ServerContexts(tls, [Protocol.IMAP]), visitor, None)
    assert not await _resumes(ServerContexts(tls, [Protocol.IMAP]), visitor, None, Protocol.IMAP, session)


# -- by hand -----------------------------------------------------------------------------------------


async def _answered(contexts: ServerContexts, data: bytes) -> tuple[str, bytes]:
    """Send octets and end; gives the server's reason and what it answered."""
    near, far = connected_pair()
    outcome: list[TlsStream | StreamLost] = []

    async def serve() -> None:
        outcome.append(await accept(far, contexts))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            answer = await _ask(near, data)
    return _lost(outcome), answer


async def _ask(near: socket.socket, data: bytes) -> bytes:
    """Send octets and end; gives what comes back, also from a server that closed with some of them unread."""
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    answer = b""
    async with stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            await stream.send_eof()
        with suppress(trio.BrokenResourceError):
            while more := await stream.receive_some():
                answer += more
    return answer


def _lost(outcome: list[TlsStream | StreamLost]) -> str:
    assert len(outcome) == 1
    assert isinstance(outcome[0], StreamLost), "the handshake was finished"
    return outcome[0].reason


def _alert(answer: bytes) -> int:
    """The description of the alert in clear that ``answer`` begins with (RFC 8446 6)."""
    assert answer[0] == 21, answer[:16]
    return answer[6]


async def _second_flight(near: socket.socket, client: Client) -> bytes:
    """What a TLS 1.2 client answers to the server's first flight."""
    while True:
        await trio.lowlevel.wait_readable(near)
        client.connection.bio_write(near.recv(65536))
        try:
            client.connection.do_handshake()
        except SSL.WantReadError:
            if flight := _written(client):
                return flight


def _written(client: Client) -> bytes:
    try:
        return client.connection.bio_read(65536)
    except SSL.WantReadError:
        return b""


async def _finish(near: socket.socket, client: Client) -> None:
    """The rest of the handshake of a client over memory whose hello has been sent."""
    while True:
        try:
            client.connection.do_handshake()
            near.send(_written(client))
            return
        except SSL.WantReadError:
            if flight := _written(client):
                near.send(flight)
        await trio.lowlevel.wait_readable(near)
        client.connection.bio_write(near.recv(65536))


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
