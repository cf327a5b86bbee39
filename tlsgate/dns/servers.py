"""One question to the name servers, by dnspython. Dear to import (50 ms, 5 MiB): ``dns`` does it at the first question.

Retries, fail-over from server to server and TCP after a truncated answer are dnspython's. The sockets and what is read
from them are ours: they are closed whatever happens, and no answer is parsed beyond its first records.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from itertools import islice

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.inet
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.resolver
import trio
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from tlsgate.config import HostPort
from tlsgate.dns.answer import Answer, Failed, Failure, Found, Kind, Missing

_DNS_PORT = 53
_LARGEST = 65_535
# dnspython takes tens of microseconds for a record, on the loop that serves everybody.
_MOST_RECORDS = 64
_PAYLOAD = 1232  # octets of UDP that no path breaks into fragments, which could be forged
_TRIES = 3
_KEEP_FAILURE = 1.0
_BACKEND = dns.asyncbackend.get_backend("trio")


class NameServers:
    """Name servers to ask. ``addresses`` (): those of the system. ``timeout``: seconds for a question.

    Reads a file. Raises OSError when the system has none.
    """

    def __init__(self, addresses: Sequence[HostPort], timeout: float) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not addresses)
        except dns.resolver.NoResolverConfiguration as error:
            raise OSError(str(error)) from error
        named = addresses or [HostPort(str(each), _DNS_PORT) for each in self._resolver.nameservers]
        self._resolver.nameservers = [_NameServer(each.host, each.port) for each in named]
        self._resolver.timeout = timeout / _TRIES
        self._resolver.use_edns(0, 0, _PAYLOAD)
        self._timeout = timeout

    async def ask(self, name: str, kind: Kind) -> tuple[Answer, float]:
        """The answer and its TTL in seconds; may take a little longer than the time-out."""
        try:
            absolute = dns.name.from_text(name)
        except dns.exception.DNSException:  # too long, an empty label, a bad escape: there can't be such a name
            return Missing(), _KEEP_FAILURE
        try:
            answer = await self._resolver.resolve(
                absolute,
                str(kind),
                raise_on_no_answer=False,
                search=False,
                lifetime=self._timeout,
                backend=_BACKEND,
            )
        except dns.resolver.NXDOMAIN as error:
            response: dns.message.QueryMessage = error.kwargs["responses"][absolute]
            return Missing(), response.resolve_chaining().minimum_ttl
        except dns.exception.DNSException as error:
            return Failed(_failure(error)), _KEEP_FAILURE
        records = tuple(_text(each) for each in islice(answer.rrset or (), _MOST_RECORDS))
        return Found(records) if records else Missing(), answer.chaining_result.minimum_ttl


class _NameServer(dns.nameserver.Do53Nameserver):
    """A name server on port 53, or another. Sockets are connected: only the server's own datagrams come in."""

    async def async_query(
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: object,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        """The response. ``max_size``: by TCP. Raises OSError, EOFError and DNSException."""
        family = dns.inet.af_for_address(self.address)
        with trio.move_on_after(timeout):
            with trio.socket.socket(family, socket.SOCK_STREAM if max_size else socket.SOCK_DGRAM) as sock:
                await sock.connect(dns.inet.low_level_address_tuple((self.address, self.port), family))
                return await (_by_tcp if max_size else _by_udp)(sock, request)
        raise dns.exception.Timeout


async def _by_udp(sock: trio.socket.SocketType, request: dns.message.QueryMessage) -> dns.message.Message:
    await sock.send(request.to_wire())
    while True:
        data = await sock.recv(_LARGEST)
        try:
            response = _parse(data)
        except dns.message.Truncated as error:
            if request.is_response(error.kwargs["message"]):
                raise
            continue
        except (dns.exception.DNSException, ValueError):  # forged, or the server is out of its senses
            continue
        if request.is_response(response):
            return response


async def _by_tcp(sock: trio.socket.SocketType, request: dns.message.QueryMessage) -> dns.message.Message:
    stream = trio.SocketStream(sock)
    try:
        await stream.send_all(request.to_wire(prepend_length=True))
        length = int.from_bytes(await _exactly(stream, 2), "big")
        response = _parse(await _exactly(stream, length))
    except trio.BrokenResourceError as error:
        raise EOFError from error
    if not request.is_response(response):
        raise dns.exception.FormError
    return response


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        received = await stream.receive_some(count - len(data))
        if not received:
            raise EOFError
        data += received
    return bytes(data)


def _parse(wire: bytes) -> dns.message.Message:
    """A message of which a long answer section is cut, and what follows it with it. Raises DNSException, ValueError."""
    answers, authorities, additional = (int.from_bytes(wire[at : at + 2], "big") for at in (6, 8, 10))
    if answers > _MOST_RECORDS:
        wire = wire[:6] + _MOST_RECORDS.to_bytes(2, "big") + bytes(4) + wire[12:]
    elif authorities + additional > _MOST_RECORDS:
        raise dns.exception.FormError
    return dns.message.from_wire(wire, raise_on_truncation=True, ignore_trailing=True)


def _failure(error: dns.exception.DNSException) -> Failure:
    if isinstance(error, dns.exception.Timeout):
        return Failure.TIMEOUT
    if isinstance(error, dns.resolver.NoNameservers):
        causes = [each[3] for each in error.kwargs["errors"]]
        match causes[-1] if causes else None:
            case OSError() | EOFError():
                return Failure.UNREACHABLE
            case "SERVFAIL":
                return Failure.SERVFAIL
            case "REFUSED":
                return Failure.REFUSED
    return Failure.GARBLED


def _text(record: dns.rdata.Rdata) -> str:
    match record:
        case A() | AAAA():
            return str(record.address)
        case PTR():
            return _name(record.target)
        case MX():
            return f"{record.preference} {_name(record.exchange)}"
        case SRV():
            return f"{record.priority} {record.weight} {record.port} {_name(record.target)}"
        case TXT():
            return b"".join(record.strings).decode("latin-1")
    raise TypeError(f"{type(record).__name__} wasn't asked for")


def _name(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
