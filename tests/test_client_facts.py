"""What backends learn of a client, from its socket to their end: by each way that a pool can be told to use."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
import trio

from tests.auth.attempts import RightHere
from tests.gate import Client, Gate, gate, pool_of
from tests.legacy_server import SECRET, LegacyServer, Script, Smtp, Talk, imap, saying
from tests.test_listener import header, listener_on
from tlsgate import session as session_module
from tlsgate.admission.network import UNIX, ClientAddress, parse_client
from tlsgate.client_facts import client_facts
from tlsgate.config import ClientAddress as How
from tlsgate.config import LoginMode, Protocol, TlsMode, UnixPath
from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.events import Bounds, Channel, Offer
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.proxy import ProxyHeader
from tlsgate.dialogue.smtp import MessageRules
from tlsgate.dialogue.submission import Submission
from tlsgate.sockets import bind

RIGHT_HERE = RightHere(SECRET)
pytestmark = pytest.mark.timeout(30)
OFFER, BOUNDS = Offer("gate.example", ("PLAIN",), ()), Bounds(1000, 10, 3)
XCLIENT = Smtp(
    {b"XCLIENT": b"220 legacy\r\n"},
    keywords=(b"AUTH PLAIN", b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"),
)
MESSAGE = b"From: ann\r\n\r\nHello.\r\n.\r\n"


async def serving(nursery: trio.Nursery, *scripts: Script) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve)
    return server


# -- the facts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "address"),
    [("203.0.113.7", IPv4Address("203.0.113.7")), ("2001:db8::7", IPv6Address("2001:db8::7"))],
)
def test_both_ends(client: str, address: IPv4Address | IPv6Address) -> None:
    dialogue = Pop3(OFFER, Channel.ENCRYPTED, BOUNDS)
    told = Endpoint(IPv4Address("192.0.2.1"), 995)
    with socket.create_server(("127.0.0.1", 0)) as ours:
        own = Endpoint(IPv4Address("127.0.0.1"), ours.getsockname()[1])
        for destination in (told, None):
            facts = client_facts(parse_client(client), 4711, destination, ours, "Ab3x", dialogue)
            assert facts.source == Endpoint(address, 4711)
            assert facts.destination == (destination or own)
            assert (facts.session, facts.helo, facts.id_fields) == ("Ab3x", "", ())


def test_an_ipv6_socket_that_an_ipv4_client_has_reached() -> None:
    """Its end is mapped, or has a zone: no address of either kind is for a backend."""

    class Named(socket.socket):
        def getsockname(self) -> tuple[str, int, int, int]:
            return name

    dialogue = Pop3(OFFER, Channel.ENCRYPTED, BOUNDS)
    for host, address in (("::ffff:192.0.2.1", IPv4Address("192.0.2.1")), ("fe80::1%lo", IPv6Address("fe80::1"))):
        name = (host, 995, 0, 1)
        with Named() as ours:
            facts = client_facts(ClientAddress(4, 1), 4711, None, ours, "Ab3x", dialogue)
        assert facts.destination == Endpoint(address, 995)


def test_a_client_of_a_unix_socket_has_no_ends() -> None:
    with socket.socket(socket.AF_UNIX) as ours:
        facts = client_facts(UNIX, 0, None, ours, "Ab3x", Pop3(OFFER, Channel.ENCRYPTED, BOUNDS))
    assert (facts.source, facts.destination, facts.session) == (None, None, "Ab3x")


def test_what_a_client_says_of_itself() -> None:
    mail = Submission(OFFER, Channel.ENCRYPTED, BOUNDS, MessageRules(1000, 10))
    mail.receive(b"EHLO client.example\r\n")
    mail.next_event()
    reader = Imap(OFFER, Channel.ENCRYPTED, BOUNDS)
    reader.receive(b'a ID ("name" "Mutt")\r\n')
    reader.next_event()
    with socket.socket() as ours:
        assert client_facts(UNIX, 0, None, ours, "", mail).helo == "client.example"
        assert client_facts(UNIX, 0, None, ours, "", reader).id_fields == (("name", "Mutt"),)


# -- through a session -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [How.PROXY_V1, How.PROXY_V2])
async def test_a_proxy_header_out(nursery: trio.Nursery, how: How) -> None:
    headers: list[ProxyHeader] = []

    async def behind(talk: Talk) -> None:
        headers.append(await talk.proxy_header())
        await imap(talk)

    server = await serving(nursery, behind)
    pool = pool_of(server.address, client_address=how)
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool, proxies=("127.0.0.1",)) as running:
        await running.logged_in(header())
        direct = await running.logged_in(source="127.0.0.2")
        ours, theirs = (Endpoint(IPv4Address(name[0]), name[1]) for name in _names(running, direct.socket))
        assert [(each.source, each.destination) for each in headers] == [
            (Endpoint(IPv4Address("203.0.113.7"), 4711), Endpoint(IPv4Address("192.0.2.1"), 993)),
            (theirs, ours),
        ]


def _names(running: Gate, client: object) -> tuple[tuple[str, int], tuple[str, int]]:
    assert isinstance(client, trio.socket.SocketType)
    host, port = client.getsockname()
    return running.address, (host, port)


async def test_imap_id(nursery: trio.Nursery) -> None:
    """Our words come first, and the client's own may not be in the place of ours."""
    greeting = b"* OK [CAPABILITY IMAP4rev1 ID] legacy\r\n"
    server = await serving(nursery, saying(greeting, b"TAG OK\r\n", b"TAG OK in\r\n"))
    pool = pool_of(server.address, client_address=How.IMAP_ID)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, proxies=("127.0.0.1",)) as running:
        client = await running.secure(header())
        said = await client.ask(b'a ID ("name" "Mutt" "x-originating-ip" "198.51.100.1")')
        assert said.startswith(b'* ID ("name" "tlsgate")')
        await client.line()
        assert (await client.log_in()).startswith(client.speech.granted)
    sent = bytes(server.talks[0].heard).split(b"\r\n")[0].partition(b" ")[2]
    assert sent == (
        b'ID ("x-originating-ip" "203.0.113.7" "x-originating-port" "4711" "x-connected-ip" "192.0.2.1"'
        b' "x-connected-port" "993" "x-session-id" "Ab3x" "name" "Mutt")'
    )


async def test_pop3_xclient(nursery: trio.Nursery) -> None:
    server = await serving(nursery, saying(b"+OK [XCLIENT] legacy\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK in\r\n"))
    pool = pool_of(server.address, client_address=How.XCLIENT)
    async with gate(Protocol.POP3, TlsMode.IMPLICIT, pool, proxies=("127.0.0.1",)) as running:
        await running.logged_in(header("2001:db8::7"))
    assert bytes(server.talks[0].heard).startswith(b"XCLIENT ADDR=2001:db8::7 PORT=4711 SESSION=Ab3x\r\nUSER ")


@pytest.mark.parametrize("login", [LoginMode.SAME, LoginMode.NONE])
async def test_smtp_xclient_also_on_the_next_connection(nursery: trio.Nursery, login: LoginMode) -> None:
    """The second message of a session would else be of nobody's, or of ours."""
    server = await serving(nursery, XCLIENT)
    pool = pool_of(server.address, login=login, client_address=How.XCLIENT)
    async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool, judge=RIGHT_HERE, proxies=("127.0.0.1",)) as running:
        client = await running.logged_in(header())
        for body in (b"bare\nLF\r\n.\r\n", MESSAGE):  # the first is cut off, with its connection
            for command in (b"MAIL FROM:<ann@example.org>", b"RCPT TO:<bob@example.org>", b"DATA"):
                assert (await client.ask(command))[:1] in b"23"
            await client.send(body)
            said = await client.reply()
        assert said.startswith(b"250 ")
    assert len(server.talks) == 2
    for talk in server.talks:
        lines = bytes(talk.heard).split(b"\r\n")
        assert lines[0] == b"EHLO mail.example.org"
        told = dict(word.split(b"=") for line in lines if line.startswith(b"XCLIENT ") for word in line.split()[1:])
        assert told == {
            b"ADDR": b"203.0.113.7", b"PORT": b"4711", b"PROTO": b"ESMTP", b"HELO": b"client.example",
            b"NAME": b"[UNAVAILABLE]", b"DESTADDR": b"192.0.2.1", b"DESTPORT": b"993",
            **({b"LOGIN": b"ann"} if login is LoginMode.NONE else {}),
        }  # fmt: skip
        assert b"EHLO client.example" in lines
        assert any(line.startswith(b"AUTH ") for line in lines) is (login is LoginMode.SAME)


async def test_a_pool_that_tells_nothing(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told where it wasn't asked for, and no login pays for what isn't told."""

    def dear(*_: object) -> None:
        raise AssertionError("facts that nobody wants")

    monkeypatch.setattr(session_module, "client_facts", dear)
    server = await serving(nursery, imap)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(server.address)) as running:
        await running.logged_in()
    assert b" ID " not in server.talks[0].heard


async def test_a_client_of_a_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A webmail on this host: neither its address nor ours may stand for its users'."""
    server = await serving(nursery, saying(b"+OK [XCLIENT] legacy\r\n", b"+OK\r\n", b"+OK\r\n", b"-ERR [AUTH]\r\n"))
    pool = pool_of(server.address, client_address=How.XCLIENT)
    async with trio.open_nursery() as sessions:
        bound = bind(UnixPath(tmp_path / "gate"))
        listener, trace = listener_on(bound, sessions, Protocol.POP3, TlsMode.IMPLICIT, pool)
        sessions.start_soon(listener.run)
        client = Client(await trio.open_unix_socket(tmp_path / "gate"), Protocol.POP3)
        await client.start_tls()
        await client.line()
        assert (await client.log_in("wrong")).startswith(client.speech.refused)
        client.close()
        listener.stop()
    assert bytes(server.talks[0].heard).startswith(b"XCLIENT SESSION=Ab3x\r\nUSER ")
    assert trace.clients == [("unix", 0)]
