"""Look-ups that ask a test's own DNS server, and a record of what they tell."""

from __future__ import annotations

from collections import Counter

import trio

from tests.dns_server import DnsServer, has
from tlsgate.admission.look_ups import Checks, LookUps
from tlsgate.admission.screened import Screener
from tlsgate.config import Action, Dnsbl, Protocol, Screening

CLIENT, REVERSED = "198.51.100.7", "7.100.51.198"
POINTER = f"{REVERSED}.in-addr.arpa"
USERS = Dnsbl(zone="bl.test", protocols=(Protocol.SUBMISSION,))
SERVERS = Dnsbl(zone="bl.test", protocols=(Protocol.MX,))
ALL = Checks(dnsbl=True, reverse_dns=True, helo=True)


class LookUpRecords:
    """What was told. ``checked``: by check and result."""

    def __init__(self) -> None:
        self.checked: Counter[tuple[str, str]] = Counter()
        self.events: list[str] = []
        self._more = trio.Event()

    async def heard(self, check: str, result: str) -> None:
        """Wait until a check has had a result."""
        with trio.fail_after(10):
            while not self.checked[check, result]:
                await self._more.wait()

    def screened(self, check: str, result: str) -> None:
        self.checked[check, result] += 1
        self._more.set()
        self._more = trio.Event()

    def screening_fault(self, check: str, fault: str) -> None:
        self.events.append(f"{check} {fault}")

    def dnsbl(self, zone: str, result: str) -> None:
        self.screened(zone, result)

    def dnsbl_zone_off(self, zone: str, reason: str) -> None:
        assert reason
        self.events.append(f"{zone} off")

    def dnsbl_zone_on(self, zone: str) -> None:
        self.events.append(f"{zone} on")

    def dns_down(self) -> None:
        self.events.append("down")

    def dns_up(self) -> None:
        self.events.append("up")


def look_ups(
    server: DnsServer, nursery: trio.Nursery, *zones: Dnsbl, timeout: float = 5.0
) -> tuple[LookUps, LookUpRecords]:
    told = LookUpRecords()
    return LookUps(server.settings(timeout), zones or (USERS,), told, nursery), told


def screener(
    server: DnsServer,
    nursery: trio.Nursery,
    *zones: Dnsbl,
    checks: Checks = ALL,
    reverse_dns: Action = Action.SCORE,
    tempfail_score: int = 0,
    timeout: float = 5.0,
) -> tuple[Screener, LookUpRecords]:
    """``timeout``: seconds."""
    asked, told = look_ups(server, nursery, *zones, timeout=timeout)
    settings = Screening(reverse_dns=reverse_dns, tempfail_score=tempfail_score)
    return Screener(asked, checks, settings, "gate.example.org"), told


def list_client(server: DnsServer, zone: str = "bl.test") -> None:
    """CLIENT is on a list from now on."""
    server.says(f"{REVERSED}.{zone}", "A", has("127.0.0.2"))


def name_client(server: DnsServer, name: str = "laptop.example.net") -> None:
    """CLIENT has a name that leads back to it."""
    server.says(POINTER, "PTR", has(f"{name}."))
    server.says(name, "A", has(CLIENT))


def mx_screener(
    server: DnsServer,
    nursery: trio.Nursery,
    *zones: Dnsbl,
    checks: Checks,
    settings: Screening,
    timeout: float = 5.0,
) -> tuple[Screener, LookUpRecords]:
    """For a listener that other servers come to. ``timeout``: seconds."""
    asked, told = look_ups(server, nursery, *(zones or (SERVERS,)), timeout=timeout)
    return Screener(asked, checks, settings, "mail.example.org", Protocol.MX), told
