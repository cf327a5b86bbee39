"""The hook through which the DNS checks reach logs and metrics, apart from single sessions."""

from __future__ import annotations

from tlsgate.admission.zone_name import shown
from tlsgate.ops.log import EventLog
from tlsgate.ops.screening_metrics import ScreeningMetrics


class ScreeningTrace:
    """Look-ups as counts, and what befalls name servers and lists as log events."""

    def __init__(self, counted: ScreeningMetrics, log: EventLog) -> None:
        self._counted = counted
        self._log = log

    def screened(self, check: str, result: str) -> None:
        """A client was checked."""
        self._counted.screened(check, result)

    def screening_fault(self, check: str, fault: str) -> None:
        """A check has failed by a fault of ours: its client passes."""
        self._log.emit("screening_fault", "error", check=check, reason=fault)

    def dnsbl(self, zone: str, result: str) -> None:
        """A list was asked about a client."""
        del zone
        self.screened("dnsbl", result)

    def dnsbl_zone_off(self, zone: str, reason: str) -> None:
        """A list isn't asked any more, for it doesn't answer as a list does."""
        self._log.emit("dnsbl_zone_off", "error", zone=shown(zone), reason=reason)

    def dnsbl_zone_on(self, zone: str) -> None:
        """A list is asked again."""
        self._log.emit("dnsbl_zone_on", zone=shown(zone))

    def surbl(self, zone: str, result: str) -> None:
        """A list was asked about a link."""
        del zone
        self.screened("surbl", result)

    def surbl_zone_off(self, zone: str, reason: str) -> None:
        """A list isn't asked any more, for it doesn't answer as a list does."""
        self._log.emit("surbl_zone_off", "error", zone=shown(zone), reason=reason)

    def surbl_zone_on(self, zone: str) -> None:
        """A list is asked again."""
        self._log.emit("surbl_zone_on", zone=shown(zone))

    def dns_down(self) -> None:
        """The name servers answer nothing: they aren't asked for a while."""
        self._log.emit("dns_down", "error")

    def dns_up(self) -> None:
        """The name servers answer again."""
        self._log.emit("dns_up")
