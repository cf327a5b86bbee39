"""Questions to the DNS for one check, and the limits on what they may find (RFC 7208 4.6.4 and 5)."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Protocol

from tlsgate.admission.host_name import is_host_name
from tlsgate.admission.reverse_dns import leads_to
from tlsgate.admission.reversed_name import ClientIP
from tlsgate.dns import Answer, Failed, Found, Kind, Missing
from tlsgate.mail.spf.faults import PermError, TempError

_MOST_VOID = 2
_MOST_NAMES = 10
_LONGEST_NAME = 253
_LONGEST_LABEL = 63


class Asks(Protocol):
    """The resolver."""

    async def ask(self, name: str, kind: Kind, /) -> Answer: ...


class LookUps:
    """``client``: as ``plain`` gives it."""

    def __init__(self, client: ClientIP, resolver: Asks) -> None:
        self._client = client
        self._resolver = resolver
        self._kind = Kind.A if isinstance(client, IPv4Address) else Kind.AAAA
        self._void = 0
        self._validated: tuple[str, ...] | None = None

    async def texts(self, name: str) -> tuple[str, ...]:
        """TXT records. One that isn't there has its own meaning everywhere, so it is no void look-up."""
        return _records(await self._ask(name, Kind.TXT)) if name else ()

    async def exists(self, name: str) -> bool:
        """Whether there is an A record, whatever the client's family (RFC 7208 5.7)."""
        return bool(name) and bool(self._counted(await self._ask(name, Kind.A)))

    async def has_client(self, name: str, kind: Kind, prefix: int) -> bool:
        """Whether the client is in the network of an address of the name (A), or of its mail exchanges (MX)."""
        if not name:
            return False
        if kind is Kind.A:
            return self._near_client(await self._ask(name, self._kind), prefix)
        exchanges = self._counted(await self._ask(name, Kind.MX))
        if len(exchanges) > _MOST_NAMES:
            raise PermError(f"more than {_MOST_NAMES} mail exchanges")
        for each in exchanges:
            exchange = each.partition(" ")[2]
            if exchange == ".":  # RFC 7505: there is none
                continue
            if self._near_client(await self._resolver.ask(exchange, self._kind), prefix):
                return True
        return False

    async def validated(self) -> tuple[str, ...]:
        """The client's names that lead back to it, of the first ten (RFC 7208 5.5); asked once.

        Failures are no names, and voids don't count: the client chose all of these, the domain none.
        """
        if self._validated is None:
            answer = await self._resolver.ask(self._client.reverse_pointer, Kind.PTR)
            names = answer.records[:_MOST_NAMES] if isinstance(answer, Found) else ()
            self._validated = tuple([each for each in names if is_host_name(each) and await self._leads_back(each)])
        return self._validated

    async def _leads_back(self, name: str) -> bool:
        return leads_to(await self._resolver.ask(name, self._kind), self._client)

    async def _ask(self, name: str, kind: Kind) -> Answer:
        """``name``: as ``target_name`` gives it, where a backslash has no meaning."""
        return await self._resolver.ask(name.replace("\\", "\\\\"), kind)

    def _near_client(self, answer: Answer, prefix: int) -> bool:
        return any(covers(ip_address(each), prefix, self._client) for each in self._counted(answer))

    def _counted(self, answer: Answer) -> tuple[str, ...]:
        """The records. Raises TempError; PermError at the third void look-up."""
        records = _records(answer)
        if not records:
            self._void += 1
            if self._void > _MOST_VOID:
                raise PermError(f"more than {_MOST_VOID} names or records that don't exist")
        return records


def target_name(expanded: str) -> str:
    """A domain-spec's expansion as a name, "" when there can't be such a one.

    Too long a name loses labels on the left (RFC 7208 7.3).
    """
    labels = expanded.removesuffix(".").split(".")
    length = sum(map(len, labels)) + len(labels) - 1
    first = 0
    while length > _LONGEST_NAME:
        length -= len(labels[first]) + 1
        first += 1
    kept = labels[first:]
    return ".".join(kept) if expanded.isascii() and all(0 < len(each) <= _LONGEST_LABEL for each in kept) else ""


def covers(address: ClientIP, prefix: int, client: ClientIP) -> bool:
    """Whether the first ``prefix`` bits of both are the same."""
    if address.version != client.version:
        return False
    return (int(address) ^ int(client)) >> (address.max_prefixlen - prefix) == 0


def _records(answer: Answer) -> tuple[str, ...]:
    match answer:
        case Found(records):
            return records
        case Missing():
            return ()
        case Failed(reason):
            raise TempError(f"DNS: {reason}")
