"""What a test's lists have told, and a DNS server with a list that is in its senses."""

from __future__ import annotations

from collections import Counter

from tests.dns_server import DnsServer, has
from tlsgate.admission.dnsbl import Result
from tlsgate.mail.surbl.lists import SurblLists

ZONE = "multi.example"


class Told:
    """The trace."""

    def __init__(self) -> None:
        self.results: Counter[tuple[str, str]] = Counter()
        self.off: list[tuple[str, str]] = []
        self.on: list[str] = []
        self.faults: list[tuple[str, str]] = []

    def surbl(self, zone: str, result: Result) -> None:
        self.results[zone, result.value] += 1

    def surbl_zone_off(self, zone: str, reason: str) -> None:
        self.off.append((zone, reason))

    def surbl_zone_on(self, zone: str) -> None:
        self.on.append(zone)

    def screening_fault(self, check: str, fault: str) -> None:
        self.faults.append((check, fault))


def lists(server: DnsServer, told: Told, *zones: str, timeout: float = 5.0) -> SurblLists:
    """Lists that ask ``server``. ``timeout``: seconds."""
    return SurblLists(zones or (ZONE,), server.resolver(timeout), told)


def healthy(server: DnsServer, zone: str = ZONE) -> None:
    """A list with an entry that it should have."""
    server.says(f"test.{zone}", "A", has("127.0.0.64", ttl=60))
