"""What a client's name in HELO or EHLO is worth (RFC 5321 4.1.1.1, 4.1.3 and 4.1.4)."""

from __future__ import annotations

import enum
from collections.abc import Collection
from ipaddress import IPv4Address, ip_address

import trio

from tlsgate.admission.host_name import is_host_name
from tlsgate.admission.reverse_dns import leads_to
from tlsgate.admission.reversed_name import ClientIP, plain
from tlsgate.dns import Answer, Failed, Found, Kind, Resolver


class Helo(enum.StrEnum):
    """What is found of the name; also the ``result`` label of tlsgate_screening_total{check="helo"}."""

    CLIENT = "client"  # it leads to the client, or is an address literal of the client's
    ELSEWHERE = "elsewhere"  # it exists, and that must do: RFC 5321 4.1.4
    UNKNOWN_HOST = "unknown_host"  # it has no A, AAAA or MX record
    NOT_A_HOST_NAME = "not_a_host_name"
    BARE_WORD = "bare_word"  # a host name without a dot
    OUR_NAME = "our_name"
    WRONG_LITERAL = "wrong_literal"  # the address literal of somebody else
    TEMPORARY_FAILURE = "temporary_failure"


async def judge(name: str, client: ClientIP, our_names: Collection[str], resolver: Resolver) -> Helo:
    """Judge the name that a stranger gives. ``our_names``: host names, in lower case."""
    client = plain(client)
    return judge_form(name, client, our_names) or await _look_up(name, client, resolver)


def judge_form(name: str, client: ClientIP, our_names: Collection[str]) -> Helo | None:
    """What the name says by itself; None when only the DNS can tell. ``client``: as ``plain`` gives it."""
    if name.removesuffix(".").lower() in our_names:
        return Helo.OUR_NAME
    if name.startswith("[") and name.endswith("]"):
        return _judge_literal(name[1:-1], client)
    if not is_host_name(name):
        return Helo.NOT_A_HOST_NAME
    return None if "." in name else Helo.BARE_WORD


def _judge_literal(inner: str, client: ClientIP) -> Helo:
    """RFC 5321 4.1.3: IPv6 addresses have a tag; that some forget it harms nobody."""
    try:
        said = plain(ip_address(inner[5:] if inner[:5].upper() == "IPV6:" else inner))
    except ValueError:
        return Helo.NOT_A_HOST_NAME
    return Helo.CLIENT if said == client else Helo.WRONG_LITERAL


async def _look_up(name: str, client: ClientIP, resolver: Resolver) -> Helo:
    kind = Kind.A if isinstance(client, IPv4Address) else Kind.AAAA
    if leads_to(own := await resolver.ask(name, kind), client):
        return Helo.CLIENT
    if isinstance(own, Found):
        return Helo.ELSEWHERE
    answers: list[Answer] = [own]

    async def ask(kind: Kind) -> None:
        answers.append(await resolver.ask(name, kind))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, Kind.AAAA if kind is Kind.A else Kind.A)
        nursery.start_soon(ask, Kind.MX)
    if any(isinstance(each, Found) for each in answers):
        return Helo.ELSEWHERE
    return Helo.TEMPORARY_FAILURE if any(isinstance(each, Failed) for each in answers) else Helo.UNKNOWN_HOST
