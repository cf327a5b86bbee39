"""A listener with its sessions on loopback, clients for it, and a record of all that it tells."""

from __future__ import annotations

import base64
import functools
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType

import msgspec
import trio
import trustme

from tests.legacy_server import SECRET, USER
from tlsgate import config
from tlsgate.admission.bans import Ban, Bans
from tlsgate.admission.door import Door, Entry
from tlsgate.admission.handshakes import Handshakes
from tlsgate.admission.network import NetworkLengths, parse_network
from tlsgate.admission.penalties import StoredPenalties
from tlsgate.admission.prefixes import PrefixSet
from tlsgate.admission.rules import AddressRules, load_rules
from tlsgate.admission.screened import Screener
from tlsgate.admission.visit import Desk, Visit
from tlsgate.arrival import Arrival
from tlsgate.auth import backend as asking_backend
from tlsgate.auth.chain import chain
from tlsgate.auth.followed import Followed
from tlsgate.auth.judgement import Judge
from tlsgate.auth.master import Master
from tlsgate.auth.routing import Routes, Routing
from tlsgate.auth.stored_secrets import StoredSecrets
from tlsgate.backends.pool import Pool
from tlsgate.config import Address, BareNewlines, ClientAddress, HostPort, Limits, LoginMode, Protocol, Route, TlsMode
from tlsgate.dialogue.access_token import TokenAdvice
from tlsgate.listener import Listener
from tlsgate.login_session import LoginSession
from tlsgate.mail.relay_rules import RelayDomains
from tlsgate.mail.submission import Senders
from tlsgate.mail.surbl.links import Links
from tlsgate.mx_session import MxSession
from tlsgate.relay import Pump
from tlsgate.service import ScramSecrets, Service
from tlsgate.sockets import bind
from tlsgate.state.memory import Memory
from tlsgate.tls.accept import TlsFacts
from tlsgate.tls.contexts import ServerContexts

HOSTNAME = "mail.example.org"
DEFAULTS = Limits(rate_per_network=config.Rate(1_000_000, 60.0))  # tests open connections as fast as they can
DEFAULT_BANS = config.Bans()
TRUSTING = load_rules(config.Admission(trust=(IPv4Network("127.0.0.0/8"),)))


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def server_contexts(*, asks: bool = False) -> ServerContexts:
    """``asks``: clients are asked for certificates."""
    issued = authority().issue_cert(HOSTNAME)
    with tempfile.TemporaryDirectory() as directory:
        chain, key = Path(directory, "chain.pem"), Path(directory, "key.pem")
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        client_ca = Path(directory, "ca.pem") if asks else None
        if client_ca is not None:
            authority().cert_pem.write_to_path(client_ca)
        return ServerContexts(config.Tls(certificate=chain, private_key=key, client_ca=client_ca), tuple(Protocol))


@functools.cache
def client_tls(owner: str = "") -> ssl.SSLContext:
    """``owner``: the mailbox that the client's certificate names, "" for none."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if owner:
        authority().issue_cert(owner).configure_cert(context)
    return context


def having(certificate: Path, key: Path) -> ssl.SSLContext:
    """A client's that has this certificate."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    context.load_cert_chain(certificate, key)
    return context


class Records:
    """What a session has told, in order. ``fault_at``: a call that fails, for tests of faults."""

    session_id = "Ab3x"

    def __init__(self, fault_at: str = "") -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self._fault_at = fault_at

    def _note(self, name: str, *values: object) -> None:
        self.calls.append((name, values))
        if name == self._fault_at:
            raise RuntimeError(f"a fault that knows the password {SECRET}")

    def of(self, name: str) -> list[tuple[object, ...]]:
        return [values for called, values in self.calls if called == name]

    @property
    def end(self) -> tuple[object, ...]:
        """The one result and reason."""
        (end,) = self.of("ended")
        return end

    def handshaken(self, facts: TlsFacts, seconds: float) -> None:
        self._note("handshaken", facts, seconds)

    def handshake_failed(self, reason: str) -> None:
        self._note("handshake_failed", reason)

    def cleartext_auth_refused(self, mechanism: str, user: str | None) -> None:
        self._note("cleartext_auth_refused", mechanism, user)

    def auth_failed(self, mechanism: str, user: str | None, reason: str) -> None:
        self._note("auth_failed", mechanism, user, reason)

    def screened(self, result: str, score: int, found: str, sender: str | None = None) -> None:
        self._note("screened", result, score, found, *([] if sender is None else [sender]))

    def recipient_refused(self, sender: str, recipient: str, reason: str) -> None:
        self._note("recipient_refused", sender, recipient, reason)

    def backend_used(self, address: str) -> None:
        self._note("backend_used", address)

    def no_backend(self, reason: str) -> None:
        self._note("no_backend", reason)

    def client_known(self, name: str | None, found: str) -> None:
        self._note("client_known", name, found)

    def login_delayed(self, mechanism: str, user: str, seconds: float) -> None:
        self._note("login_delayed", mechanism, user, seconds)

    def login_unavailable(self, mechanism: str, user: str, reason: str) -> None:
        self._note("login_unavailable", mechanism, user, reason)

    def recognized(self, user: str, label: str, weak: str) -> None:
        self._note("recognized", user, label, weak)

    def certificate_unreadable(self) -> None:
        self._note("certificate_unreadable")

    def logged_in(self, mechanism: str, user: str, backend: str, seconds: float) -> None:
        self._note("logged_in", mechanism, user, backend, seconds)

    def relaying(self) -> None:
        self._note("relaying")

    def message(self, result: str, sender: str, recipients: int, size: int, said: str) -> None:
        self._note("message", result, sender, recipients, size, said)

    def quota_refused(self, quota: str, news: bool) -> None:
        self._note("quota_refused", quota, news)

    def sender_refused(self, sender: str, news: bool) -> None:
        self._note("sender_refused", sender, news)

    def relayed(self, up: int, down: int) -> None:
        self._note("relayed", up, down)

    def ended(self, result: str, reason: str) -> None:
        self._note("ended", result, reason)


class ListenerRecords:
    """A listener's own record, and one for each session. ``fault_at``: for the first session."""

    def __init__(self, fault_at: str = "") -> None:
        self.refusals: list[str] = []
        self.reasons: list[str] = []
        self.refused_clients: list[tuple[str, int]] = []
        self.sessions: list[Records] = []
        self.clients: list[tuple[str, int]] = []
        self.shortages = 0
        self._fault_at = fault_at

    def refused(self, result: str, client: str, port: int, reason: str) -> None:
        self.refused_clients.append((client, port))
        self.refusals.append(result)
        self.reasons.append(reason)

    def accepted(self, client: str, port: int) -> Records:
        self.clients.append((client, port))
        self.sessions.append(Records("" if self.sessions else self._fault_at))
        return self.sessions[-1]

    def shortage(self) -> None:
        self.shortages += 1


class BanRecords:
    """What is told of bans."""

    def __init__(self) -> None:
        self.banned_networks: list[Ban] = []
        self.unbanned_networks: list[tuple[str, str]] = []

    def banned(self, ban: Ban) -> None:
        self.banned_networks.append(ban)

    def unbanned(self, network: str, reason: str) -> None:
        self.unbanned_networks.append((network, reason))


class BackendRecords:
    """What is told of one backend. ``open``: connections that are counted and not closed."""

    def __init__(self) -> None:
        self.open = 0
        self.failures: list[str] = []
        self.states: list[bool] = []

    def up(self, up: bool) -> None:
        self.states.append(up)

    def connected(self) -> None:
        self.open += 1

    def answered(self, seconds: float) -> None:
        assert seconds >= 0

    def disconnected(self) -> None:
        self.open -= 1
        assert self.open >= 0

    def failed(self, reason: str) -> None:
        self.failures.append(reason)


def pool_of(
    *addresses: Address,
    login: LoginMode = LoginMode.SAME,
    connect_timeout: float = 5.0,
    connections: int = 1000,
    client_address: ClientAddress = ClientAddress.NONE,
    long_lines: bool = False,
    strip_domain: bool = False,
    name: str = "pool",
) -> Pool:
    """A pool of backends in clear, tried in the order given."""
    backends = tuple(config.Backend(address=address, priority=at) for at, address in enumerate(addresses))
    settings = config.Pool(
        backends=backends,
        login=login,
        connect_timeout=connect_timeout,
        client_address=client_address,
        long_lines=long_lines,
        strip_domain=strip_domain,
    )
    return Pool(name, settings, lambda _pool, _address: BackendRecords(), connections=connections)


def records(pool: Pool, index: int = 0) -> BackendRecords:
    trace = pool.backends[index].trace
    assert isinstance(trace, BackendRecords)
    return trace


@dataclass
class Admission:
    """What decides who may talk, over a store of its own and on trio's clock."""

    door: Door
    store: Memory
    bans: Bans
    penalties: StoredPenalties
    handshakes: Handshakes
    told: BanRecords

    def desk(self, left: Callable[[Visit], None]) -> Desk:
        return Desk(self.store, self.penalties, self.handshakes, self.door.limits.connections_per_user, left)


def admission(limits: Limits, rules: AddressRules, bans: config.Bans) -> Admission:
    store, told = Memory(trio.current_time), BanRecords()
    banned = Bans(told, trio.current_time)
    lengths = NetworkLengths(limits.ipv4_prefix, limits.ipv6_prefix)
    penalties = StoredPenalties(bans, lengths, store, banned, lambda: b"key", trio.current_time)
    return Admission(Door(limits, rules, store, banned), store, banned, penalties, Handshakes(limits.handshakes), told)


@dataclass
class House:
    """Where a listener's connections go: sessions in a nursery. ``on_left`` is called after each that has ended."""

    service: Service
    rooms: Admission
    trace: ListenerRecords
    sessions: trio.Nursery
    on_left: Callable[[], None] = lambda: None

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        assert listener == "gate"
        visit = Visit(entry, self.rooms.desk(lambda visit: self.left(visit.entry)))
        trace = self.trace.accepted(arrival.host, arrival.port)
        session = MxSession if self.service.protocol is Protocol.MX else LoginSession
        self.sessions.start_soon(session(self.service, arrival, trace, visit, self).run)
        return True

    def left(self, entry: Entry) -> None:
        self.rooms.door.leave(entry)
        self.on_left()


@dataclass
class Gate:
    """A running listener and what belongs to it."""

    listener: Listener
    house: House
    trace: ListenerRecords
    rooms: Admission
    pool: Pool
    pump: Pump
    protocol: Protocol
    tls: TlsMode
    sessions: trio.Nursery
    ended: trio.Event
    clients: list[Client]

    @property
    def door(self) -> Door:
        return self.rooms.door

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.socket.getsockname()
        return host, port

    async def connect(self, first: bytes = b"", source: str = "127.0.0.1") -> Client:
        """A client that has done nothing yet but send ``first``, from an address of loopback."""
        stream = await trio.open_tcp_stream(*self.address, local_address=source)
        client = Client(stream, self.protocol)
        self.clients.append(client)
        await client.send(first)
        return client

    async def secure(self, first: bytes = b"", source: str = "127.0.0.1", owner: str = "") -> Client:
        """A client that has read the greeting and stands behind the handshake. ``owner``: of its certificate."""
        client = await self.connect(first, source)
        client.owner = owner
        if self.tls is TlsMode.STARTTLS:
            assert (await client.line()).startswith(client.speech.greeting)
            assert (await client.ask(client.speech.starttls)).startswith(client.speech.go)
            await client.start_tls()
        else:
            await client.start_tls()
            assert (await client.line()).startswith(client.speech.greeting)
        return client

    async def logged_in(self, first: bytes = b"", source: str = "127.0.0.1") -> Client:
        client = await self.secure(first, source)
        said = await client.log_in()
        assert said.startswith(client.speech.granted), said
        return client

    async def quiet(self) -> None:
        """Wait until every session has ended and everything that is counted is back at nothing."""
        while self.door.used:
            self.ended = trio.Event()
            await self.ended.wait()
        self.check()

    def check(self) -> None:
        """What holds for every listener whose sessions have ended, whatever has happened to them."""
        assert self.door.used == len(self.pump) == self.rooms.handshakes.used == 0
        assert self.rooms.store.empty
        for pool in self.house.service.pools:
            for index, backend in enumerate(pool.backends):
                assert backend.connections == records(pool, index).open == 0
        response = base64.b64encode(f"\0{USER}\0{SECRET}".encode()).decode()
        for session in self.trace.sessions:
            assert len(session.of("ended")) == 1
            told = repr(session.calls)
            for secret in (SECRET, response, base64.b64encode(SECRET.encode()).decode()):
                assert secret not in told


BACKEND_ALONE = chain([asking_backend.judge])
NO_ADVICE = TokenAdvice()


@asynccontextmanager
async def gate(
    protocol: Protocol,
    tls: TlsMode,
    pool: Pool,
    limits: Limits = DEFAULTS,
    *,
    fault_at: str = "",
    judge: Judge = BACKEND_ALONE,
    rules: AddressRules = TRUSTING,
    bans: config.Bans = DEFAULT_BANS,
    proxies: tuple[str, ...] = (),
    screener: Screener | None = None,
    senders: Senders | None = None,
    domains: tuple[str, ...] = (),
    links: Links | None = None,
    require_tls: bool = False,
    bare_newlines: BareNewlines = BareNewlines.REJECT,
    routes: Mapping[str, Pool] = MappingProxyType({}),
    masters: Mapping[str, Master] = MappingProxyType({}),
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN"),
    stored: Mapping[str, Followed[StoredSecrets]] = MappingProxyType({}),
    default_domain: str = "",
    scram: ScramSecrets | None = None,
    advice: TokenAdvice = NO_ADVICE,
    asks: bool = False,
) -> AsyncIterator[Gate]:
    """Run a listener; at the end its sessions are cut, and ``Gate.check`` must hold.

    Its clients are trusted unless ``rules`` say otherwise: what failed in a test must not slow the next attempt.
    ``proxies``: the prefixes that must send a PROXY header. ``screener``: who asks the DNS about clients.
    ``senders``: who knows whose addresses are whose. ``domains``: whose mail is taken. ``links``: who asks about links.
    ``routes``: pools, each with a name of its own, by the pattern of their users. ``masters``: by pool.
    ``mechanisms``, ``stored``, ``default_domain``, ``scram``, ``advice``: as of Service; with EXTERNAL, or where a test
    ``asks``, clients are asked for certificates.
    """
    asks = asks or "EXTERNAL" in mechanisms
    pump, trace = Pump(), ListenerRecords(fault_at)
    rooms = admission(limits, rules, bans)
    service = Service(
        protocol,
        tls,
        server_contexts(asks=asks),
        pool,
        pump,
        limits,
        HOSTNAME,
        mechanisms,
        judge,
        PrefixSet((parse_network(each)[0], "") for each in proxies),
        screener,
        senders,
        RelayDomains(domains),
        links,
        require_tls,
        bare_newlines,
        Routing(Routes(Route(match=match, pool=each.name) for match, each in routes.items())),
        {each.name: each for each in routes.values()},
        masters,
        stored,
        default_domain,
        scram,
        advice,
        asks,
    )

    async with trio.open_nursery() as running:
        running.start_soon(pump.run)
        sessions: trio.Nursery = await running.start(_hold)
        house = House(service, rooms, trace, sessions, lambda: built.ended.set())
        listener = Listener("gate", bind(HostPort("127.0.0.1", 0)), service, rooms.door, house, trace)
        built = Gate(listener, house, trace, rooms, pool, pump, protocol, tls, sessions, trio.Event(), [])
        running.start_soon(listener.run)
        try:
            yield built
        finally:
            listener.stop()
            running.cancel_scope.cancel()
    for client in built.clients:
        client.close()
    built.check()


async def _hold(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery for the sessions, which a test may cancel without being cancelled itself."""
    async with trio.open_nursery() as sessions:
        task_status.started(sessions)
        await trio.sleep_forever()


def limits(**changed: float) -> Limits:
    """The default limits but for some."""
    return msgspec.structs.replace(DEFAULTS, **changed)


@dataclass(frozen=True)
class Speech:
    """What a protocol's client says, and how it knows the answers."""

    greeting: bytes
    starttls: bytes
    go: bytes
    granted: bytes
    refused: bytes
    unavailable: bytes
    ending: bytes


SPEECH = {
    Protocol.IMAP: Speech(
        b"* OK ", b"a STARTTLS", b"a OK ", b"a OK ", b"a NO [AUTHENTICATIONFAILED] ", b"a NO [UNAVAILABLE] ", b"* BYE "
    ),
    Protocol.POP3: Speech(b"+OK ", b"STLS", b"+OK ", b"+OK ", b"-ERR [AUTH] ", b"-ERR [SYS/TEMP] ", b"-ERR "),
    Protocol.SUBMISSION: Speech(b"220 ", b"STARTTLS", b"220 ", b"235 2.7.0 ", b"535 5.7.8 ", b"454 4.7.0 ", b"421 4."),
    Protocol.MX: Speech(b"220 ", b"STARTTLS", b"220 ", b"235 2.7.0 ", b"502 5.5.1 ", b"454 4.7.0 ", b"421 4."),
}


class Client:
    """A mail client, line by line."""

    def __init__(self, stream: trio.SocketStream, protocol: Protocol) -> None:
        self.socket = stream.socket
        self.speech = SPEECH[protocol]
        self._protocol = protocol
        self.owner = ""
        self._stream: trio.abc.Stream = stream
        self._unread = bytearray()
        self._greeted = False

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def line(self) -> bytes:
        """The next line without its CR LF; b"" at the end."""
        while (at := self._unread.find(b"\r\n")) < 0:
            try:
                data = await self._stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return b""
            self._unread += data
        line = bytes(self._unread[:at])
        del self._unread[: at + 2]
        return line

    async def ended(self) -> bool:
        """Whether nothing more came but the end."""
        return await self.line() == b"" and not self._unread

    async def ask(self, command: bytes) -> bytes:
        """Send a command and read the last line of its reply."""
        await self.send(command + b"\r\n")
        return await self.reply()

    async def reply(self) -> bytes:
        """The next reply's last line."""
        return (await self.lines())[-1]

    async def lines(self) -> list[bytes]:
        """The next reply, all its lines."""
        lines = [await self.line()]
        while self._protocol in (Protocol.SUBMISSION, Protocol.MX) and lines[-1][3:4] == b"-":
            lines.append(await self.line())
        return lines

    async def hello(self) -> None:
        """EHLO, where the protocol has it and it wasn't said yet."""
        if self._protocol is Protocol.SUBMISSION and not self._greeted:
            self._greeted = True
            assert (await self.ask(b"EHLO client.example")).startswith(b"250 ")

    async def start_tls(self, context: ssl.SSLContext | None = None) -> None:
        assert not self._unread
        context = context or client_tls(self.owner)
        self._stream = trio.SSLStream(self._stream, context, server_hostname=HOSTNAME, https_compatible=True)
        await self._stream.do_handshake()

    def login_commands(self, secret: str) -> list[bytes]:
        match self._protocol:
            case Protocol.IMAP:
                return [f'a LOGIN "{USER}" "{secret}"'.encode()]
            case Protocol.POP3:
                return [f"USER {USER}".encode(), f"PASS {secret}".encode()]
            case _:
                hello = [] if self._greeted else [b"EHLO client.example"]
                self._greeted = True
                return [*hello, b"AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{secret}".encode())]

    async def log_in(self, secret: str = SECRET) -> bytes:
        """Try to log in; the reply that decides."""
        said = b""
        for command in self.login_commands(secret):
            said = await self.ask(command)
        return said

    def close(self) -> None:
        """Close at once, as a process that dies does."""
        self.socket.close()

    def reset(self) -> None:
        """End the connection by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
