"""Zones of the test suite, and a resolver that knows one without asking anybody."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.name
import trio

from tests.dns_server import SERVFAIL, DnsServer, Reply, has
from tlsgate.dns import Answer, Failed, Failure, Found, Kind, Missing

_MOST_ALIASES = 8
TIMEOUT = "TIMEOUT"

Zone = dict[tuple[str, str], list[str]]
"""Records by name and type; of a type TIMEOUT there is one when what else is asked of the name gets no answer.

MX: "preference name"; TXT: octets as Latin-1. Names are lower-case without the last dot.
"""


@dataclass(frozen=True)
class Case:
    """One test of the suite. ``explanation``: None when it doesn't say; "DEFAULT": there is none of the domain's."""

    name: str
    zone: Zone
    host: str
    helo: str
    mail_from: str
    results: tuple[str, ...]
    explanation: str | None


def suite() -> list[Case]:
    text = (Path(__file__).parent / "data" / "rfc7208-tests.json").read_text(encoding="ascii")
    return [case for section in json.loads(text) for case in _cases(section)]


def _cases(section: dict[str, Any]) -> list[Case]:
    zone = _zone(section["zonedata"])
    cases: list[Case] = []
    for name, test in section["tests"].items():
        results = [test["result"]] if isinstance(test["result"], str) else test["result"]
        cases.append(
            Case(name, zone, test["host"], test["helo"], test["mailfrom"], tuple(results), test.get("explanation"))
        )
    return cases


def _zone(data: dict[str, list[Any]]) -> Zone:
    zone: Zone = {}
    for name, records in data.items():
        pairs = [("TIMEOUT", "") if each == TIMEOUT else next(iter(each.items())) for each in records]
        if not any(kind == "TXT" for kind, _ in pairs):
            pairs += [("TXT", value) for kind, value in pairs if kind == "SPF"]
        for kind, value in pairs:
            if value != "NONE":
                zone.setdefault((name.lower(), kind), []).append(_value(kind, value))
    return zone


def _value(kind: str, value: Any) -> str:
    if kind == "MX":
        return f"{value[0]} {value[1].lower() or '.'}"
    if kind in ("PTR", "CNAME"):
        return str(value).lower().removesuffix(".")
    return value if isinstance(value, str) else "".join(value)


class ZoneResolver:
    """``asked``: each question. ``delay``: seconds before each answer."""

    def __init__(self, zone: Zone, delay: float = 0.0) -> None:
        self._zone = zone
        self._delay = delay
        self.asked: list[tuple[str, str]] = []

    async def ask(self, name: str, kind: Kind, /) -> Answer:
        await trio.sleep(self._delay)
        self.asked.append((name, kind))
        name = name.removesuffix(".").lower()
        for _ in range(_MOST_ALIASES):
            if records := self._zone.get((name, kind)):
                return Found(tuple(records))
            if (name, TIMEOUT) in self._zone:
                return Failed(Failure.TIMEOUT)
            if (alias := self._zone.get((name, "CNAME"))) is None:
                return Missing()
            name = alias[0]
        return Failed(Failure.GARBLED)


def serve(zone: Zone, server: DnsServer) -> None:
    """Have a server say what a zone says; SERVFAIL where the zone has a time-out."""
    server.names.clear()
    for name, kind in zone:
        if kind in set(Kind):
            server.says(_asked(name), kind, has(*(_written(kind, each) for each in zone[name, kind])))
        elif kind == TIMEOUT:
            for other in {str(each) for each in Kind if (name, each) not in zone}:
                server.says(_asked(name), other, SERVFAIL)
        elif kind == "CNAME":
            for other in Kind:
                server.says(_asked(name), other, Reply(answer=tuple(_chain(zone, name, other))))


def _chain(zone: Zone, name: str, kind: Kind) -> list[str]:
    """The answer's records of an alias."""
    lines: list[str] = []
    while (alias := zone.get((name, "CNAME"))) and len(lines) < _MOST_ALIASES:
        lines.append(f"{name}. CNAME {alias[0]}.")
        name = alias[0]
    return lines + [f"{name}. {kind} {_written(kind, each)}" for each in zone.get((name, kind), [])]


def _asked(name: str) -> str:
    return dns.name.from_text(name).to_text(omit_final_dot=True)


def _written(kind: str, value: str) -> str:
    """As a zone file has it."""
    if kind == "MX":
        preference, _, name = value.partition(" ")
        return f"{preference} {name.removesuffix('.')}."
    if kind == "PTR":
        return f"{value}."
    if kind == "TXT":
        octets = value.encode("latin-1")
        pieces = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
        return " ".join('"' + "".join(f"\\{each:03d}" for each in piece) + '"' for piece in pieces)
    return value
