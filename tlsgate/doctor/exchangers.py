"""Where a domain's mail is sent to (RFC 5321 5.1)."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from tlsgate.dns import Answer, Failed, Found, Kind, Missing, Resolver
from tlsgate.doctor.finding import Finding, Severity

_MOST_NAMES = 20


async def exchangers(domain: str, hostname: str, serves_mx: bool, resolver: Resolver) -> list[Finding]:
    """``hostname``: ours; ``serves_mx``: whether we have an mx listener."""
    about = f"domain {domain}"
    answer = await resolver.ask(domain, Kind.MX)
    match answer:
        case Failed(reason):
            why = "senders may not find where its mail goes"
            return [Finding(about, Severity.WARNING, f"its MX couldn't be asked for: {reason}", why, "ask again")]
        case Missing():
            why = "its mail goes to the domain's own address, if it has one, and is lost when that is away"
            return [Finding(about, Severity.WARNING, "has no MX record", why, "give it two, at two places")]
        case Found(records):
            names = list(dict.fromkeys(map(_name, sorted(records, key=_preference))))[:_MOST_NAMES]
            if names == [""]:
                return [Finding(about, Severity.NOTE, "says that it takes no mail (RFC 7505)")]
            return [
                *_counted(about, names),
                *_ours(about, names, hostname, serves_mx),
                *await _dead(about, names, resolver),
            ]


def _preference(record: str) -> int:
    return int(record.partition(" ")[0])


def _name(record: str) -> str:
    """The host of "preference name"."""
    return record.partition(" ")[2].removesuffix(".").lower()


def _counted(about: str, names: list[str]) -> Iterator[Finding]:
    if len(names) == 1:
        what = f"has one MX only: {names[0]}"
        why = "while it is away senders can't deliver; many give up after some hours, the others after some days"
        yield Finding(about, Severity.WARNING, what, why, "add another at another place, with a higher number")


def _ours(about: str, names: list[str], hostname: str, serves_mx: bool) -> Iterator[Finding]:
    listed = hostname.lower() in names
    if serves_mx and not listed:
        what = f"{hostname} isn't among its MX: {', '.join(names)}"
        why = "no sender comes to our mx listener for it"
        yield Finding(about, Severity.WARNING, what, why, "add it; if they stand for it under other names, leave it so")
    elif listed and not serves_mx:
        what = f"{hostname} is among its MX, and has no mx listener here"
        why = "if nothing else takes mail at its port 25, senders find nobody there"
        yield Finding(about, Severity.WARNING, what, why, 'add a listener with protocol = "mx", or take it out')


async def _dead(about: str, names: list[str], resolver: Resolver) -> list[Finding]:
    """The exchangers without an address."""
    answers: dict[tuple[str, Kind], Answer] = {}

    async def ask(name: str, kind: Kind) -> None:
        answers[name, kind] = await resolver.ask(name, kind)

    async with trio.open_nursery() as nursery:
        for name in names:
            for kind in (Kind.A, Kind.AAAA):
                nursery.start_soon(ask, name, kind)
    found = []
    for name in names:
        both = (answers[name, Kind.A], answers[name, Kind.AAAA])
        if any(isinstance(each, Found) for each in both):
            continue
        failed = next((each for each in both if isinstance(each, Failed)), None)
        if failed is not None:
            what, severity = f"the address of its MX {name} couldn't be asked for: {failed.reason}", Severity.WARNING
        else:
            what, severity = f"its MX {name} has no address", Severity.PROBLEM
        found.append(Finding(about, severity, what, "senders can't reach it", "mend its A and AAAA, or take it out"))
    return found
