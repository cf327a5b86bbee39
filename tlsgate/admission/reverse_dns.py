"""The client's name by the DNS, which counts only when the name leads back to the client (RFC 8601 2.7.3, "iprev")."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import trio
from msgspec import Struct

from tlsgate.admission.host_name import is_host_name
from tlsgate.admission.reversed_name import ClientIP, plain
from tlsgate.dns import Answer, Failed, Failure, Found, Kind, Missing, Resolver

_MOST_NAMES = 5


class Confirmed(Struct, frozen=True):
    """The client has this name: a host name in lower case, fit for logs, headers and XCLIENT."""

    name: str


class Unconfirmed(Struct, frozen=True):
    """Whoever owns the address says this name, which doesn't lead back to it. Only for logs."""

    name: str


class TemporaryFailure(Struct, frozen=True):
    """The DNS didn't say."""

    reason: Failure


ReverseName = Confirmed | Unconfirmed | Missing | TemporaryFailure
"""Missing: the client has no name that is a host's."""


async def look_up(client: ClientIP, resolver: Resolver) -> ReverseName:
    """Find the client's name: of at most five that its address has, the first that leads back to it."""
    client = plain(client)
    match await resolver.ask(client.reverse_pointer, Kind.PTR):
        case Failed(reason):
            return TemporaryFailure(reason)
        case Missing():
            return Missing()
        case Found(records):
            names = [name for name in records if is_host_name(name)][:_MOST_NAMES]
            return await _confirm(client, names, resolver) if names else Missing()


async def _confirm(client: ClientIP, names: list[str], resolver: Resolver) -> ReverseName:
    kind = Kind.A if isinstance(client, IPv4Address) else Kind.AAAA
    answers: dict[str, Answer] = {}

    async def ask(name: str) -> None:
        answers[name] = await resolver.ask(name, kind)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(ask, name)
    for name in names:
        if leads_to(answers[name], client):
            return Confirmed(name)
    for name in names:
        match answers[name]:
            case Failed(reason):
                return TemporaryFailure(reason)
    return Unconfirmed(names[0])


def leads_to(answer: Answer, client: ClientIP) -> bool:
    """Whether A or AAAA records hold the client's address."""
    return isinstance(answer, Found) and any(ip_address(each) == client for each in answer.records)
