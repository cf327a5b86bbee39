"""Which servers a name stands for: SRV (RFC 2782, RFC 6186) and MX (RFC 5321 5.1, RFC 7505) records, read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from tlsgate.config import HostPort, ManyServers, SrvName
from tlsgate.dns import Failed, Failure, Found, Kind, Missing, Resolver

MOST_SERVERS = 32
_HIGHEST = 65_535
_NO_WEIGHT = 0.01  # RFC 2782: "a very small chance" beside those that have one


class Server(Struct, frozen=True):
    """``priority``: lower first; ``weight``: its share within one priority, above 0."""

    address: HostPort
    priority: int
    weight: float


async def look_up(
    name: ManyServers, resolver: Resolver, hostname: str = ""
) -> tuple[tuple[Server, ...] | Failure, float]:
    """The best MOST_SERVERS servers, or why nothing is known of them; and what is left of the answer's TTL, in seconds.

    ``hostname``: ours. A mail exchanger doesn't pass mail on to itself, nor to those that pass it on to us.
    """
    kind, asked = (Kind.SRV, name.name) if isinstance(name, SrvName) else (Kind.MX, name.domain)
    answer = await resolver.ask(asked, kind)
    left = resolver.good_for(asked, kind)
    if isinstance(answer, Failed):
        return answer.reason, left
    records = answer.records if isinstance(answer, Found) else ()
    if isinstance(name, SrvName):
        servers = _services(records)
    elif isinstance(answer, Missing):
        servers = iter((Server(HostPort(name.domain, name.port), 0, 1.0),))  # RFC 5321 5.1: the implicit MX
    else:
        servers = _exchangers(records, name.port, hostname)
    ordered = sorted(servers, key=lambda each: (each.priority, -each.weight, str(each.address)))
    best: dict[HostPort, Server] = {}
    for each in ordered:
        best.setdefault(each.address, each)
    return tuple(best.values())[:MOST_SERVERS], left


def _services(records: Iterable[str]) -> Iterator[Server]:
    for record in records:
        priority, weight, port, target = record.split(" ", 3)
        if int(port) and _usable(target):
            yield Server(HostPort(target, int(port)), int(priority), int(weight) or _NO_WEIGHT)


def _exchangers(records: Iterable[str], port: int, hostname: str) -> Iterator[Server]:
    read = [(int(preference), target) for preference, _, target in (each.partition(" ") for each in records)]
    ours = min((preference for preference, target in read if target == hostname.lower()), default=_HIGHEST + 1)
    for preference, target in read:
        if preference < ours and _usable(target):
            yield Server(HostPort(target, port), preference, 1.0)


def _usable(target: str) -> bool:
    """Whether it is a host's name: "." says that there is no such service, and what is escaped is none."""
    return bool(target) and all(
        label and label.replace("-", "").replace("_", "").isalnum() for label in target.split(".")
    )
