"""A DNS server on loopback, UDP and TCP, that says what a test wants it to say, name by name.

dnspython is imported here, so that no test's first question waits for it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

import tlsgate.dns.servers  # noqa: F401
from tlsgate.config import Dns, HostPort
from tlsgate.dns import Resolver


@dataclass(frozen=True, kw_only=True)
class Reply:
    """``records``: as a zone file has them, of the name that is asked for; ``answer``: a whole section instead.

    ``lost``: how many questions get no reply before that. ``truncated``: over UDP. ``held``: it waits for that.
    ``forged``: datagrams with a wrong ID come before it. ``garbage``: octets instead of a message.
    """

    records: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    ttl: int = 300
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    silent: bool = False
    lost: int = 0
    truncated: bool = False
    forged: bool = False
    garbage: bytes = b""
    held: trio.Event | None = None


SILENT = Reply(silent=True)
SERVFAIL = Reply(rcode=dns.rcode.SERVFAIL)
REFUSED = Reply(rcode=dns.rcode.REFUSED)
_MISSING = Reply(rcode=dns.rcode.NXDOMAIN)
_SOA = "ns.test. admin.test. 1 3600 600 86400 {}"


def has(*records: str, ttl: int = 300) -> Reply:
    """A reply with these records."""
    return Reply(records=records, ttl=ttl)


@dataclass
class DnsServer:
    """What isn't in ``names`` doesn't exist. ``asked``: each question, with its transport.

    ``everything``: the reply to every question, whatever ``names`` say. ``minimum``: the SOA's, in seconds.
    ``port``: where it is to serve; 0 is any, then the one that it is.
    """

    names: dict[tuple[str, str], Reply] = field(default_factory=dict)
    everything: Reply | None = None
    minimum: int = 300
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    port: int = 0

    def says(self, name: str, kind: str, reply: Reply) -> None:
        """Script one name's records of a type."""
        self.names[name, kind] = reply

    def questions(self, name: str) -> int:
        """How often a name was asked for."""
        return sum(each[0] == name for each in self.asked)

    def settings(self, timeout: float) -> Dns:
        """``[dns]`` with this server. ``timeout``: seconds."""
        return Dns(nameservers=(HostPort("127.0.0.1", self.port),), timeout=timeout)

    def resolver(self, timeout: float = 5.0) -> Resolver:
        """One that asks this server. ``timeout``: seconds."""
        return Resolver(self.settings(timeout), Told())

    async def serve(self, nursery: trio.Nursery) -> DnsServer:
        """Serve from now on."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        while (udp := await _bound(port := listeners[0].socket.getsockname()[1])) is None:
            await listeners[0].aclose()
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = port
        nursery.start_soon(trio.serve_listeners, self._stream, listeners)
        nursery.start_soon(self._datagrams, udp, nursery)
        return self

    async def _datagrams(self, udp: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        with udp:
            while True:
                data, client = await udp.recvfrom(65535)
                nursery.start_soon(self._datagram, udp, data, client)

    async def _datagram(self, udp: trio.socket.SocketType, data: bytes, client: tuple[object, ...]) -> None:
        query = dns.message.from_wire(data)
        reply = await self._reply(query, "udp")
        if reply.silent:
            return
        if reply.forged:
            forged = _message(query, has("192.0.2.66"))
            forged.id ^= random.randrange(1, 0xFFFF)
            await udp.sendto(forged.to_wire(), client)
            await udp.sendto(b"\0garbage", client)
        response = _message(query, reply, self.minimum)
        if reply.truncated:
            response.flags |= dns.flags.TC
            response.answer = []
        datagram = reply.garbage if not reply.truncated else b""
        await udp.sendto(datagram or response.to_wire(max_size=65535), client)

    async def _stream(self, stream: trio.SocketStream) -> None:
        length = int.from_bytes(await stream.receive_some(2), "big")
        query = dns.message.from_wire(await stream.receive_some(length))
        reply = await self._reply(query, "tcp")
        if not reply.silent:
            data = reply.garbage or _message(query, reply, self.minimum).to_wire(max_size=65535)
            await stream.send_all(len(data).to_bytes(2, "big") + data)

    async def _reply(self, query: dns.message.Message, transport: str) -> Reply:
        name = query.question[0].name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append((name, kind, transport))
        exists = any(known == name for known, _ in self.names)
        reply = self.everything or self.names.get((name, kind), Reply() if exists else _MISSING)
        if reply.held is not None:
            await reply.held.wait()
        return SILENT if self.questions(name) <= reply.lost else reply


async def _bound(port: int) -> trio.socket.SocketType | None:
    """A UDP socket on this port, unless somebody has it."""
    udp = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    try:
        await udp.bind(("127.0.0.1", port))
    except OSError:
        udp.close()
        return None
    return udp


class Told:
    """What a resolver has told of its name servers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def dns_down(self) -> None:
        self.events.append("down")

    def dns_up(self) -> None:
        self.events.append("up")


def _message(query: dns.message.Message, reply: Reply, minimum: int = 300) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(reply.rcode)
    question = query.question[0]
    if reply.records:
        kind = dns.rdatatype.to_text(question.rdtype)
        response.answer = [dns.rrset.from_text_list(question.name, reply.ttl, "IN", kind, reply.records)]
    elif reply.answer:
        response.answer = [_rrset(each) for each in reply.answer]
    elif reply.rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        response.authority = [dns.rrset.from_text(dns.name.root, 86400, "IN", "SOA", _SOA.format(minimum))]
    return response


def _rrset(line: str) -> dns.rrset.RRset:
    name, kind, data = line.split(" ", 2)
    return dns.rrset.from_text(name, 300, "IN", kind, data)
