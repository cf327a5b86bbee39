"""One session's client as the DNS knows it: asked for beside the handshake, awaited where the answer is needed.

Of submission's clients only a DNS list turns one away: where people are, addresses have no names, and what their
programs say in EHLO is nobody's. Other servers are held to all of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

import trio
from msgspec import Struct
from msgspec.structs import replace

from tlsgate.admission import helo, reverse_dns
from tlsgate.admission.beside import Beside
from tlsgate.admission.dnsbl import Listing, is_private
from tlsgate.admission.door import Entry
from tlsgate.admission.helo import Helo
from tlsgate.admission.look_ups import Checks, LookUps
from tlsgate.admission.network import ClientAddress
from tlsgate.admission.reverse_dns import Confirmed, ReverseName, TemporaryFailure, Unconfirmed
from tlsgate.admission.reversed_name import ClientIP
from tlsgate.admission.rules import Standing
from tlsgate.admission.screening import (
    Decision,
    Finding,
    Outcome,
    decide,
    dnsbl_findings,
    helo_findings,
    reverse_dns_findings,
)
from tlsgate.admission.zone_name import shown
from tlsgate.config import Action, Protocol, Screening
from tlsgate.dns import Failure, Missing

_Result = TypeVar("_Result")

_NOT_KNOWN: ReverseName = TemporaryFailure(Failure.TIMEOUT)
_PASSES = Decision(Outcome.PASS, 0, ())
_PREGREET = 3
_NOTHING_AGAINST = (None, Helo.CLIENT, Helo.ELSEWHERE, Helo.TEMPORARY_FAILURE)
_IPREV: dict[type[ReverseName], str] = {
    Confirmed: "pass",
    Unconfirmed: "fail",
    Missing: "permerror",
    TemporaryFailure: "temperror",
}
_REVERSE_RESULTS: dict[type[ReverseName], str] = {
    Confirmed: "confirmed",
    Unconfirmed: "unconfirmed",
    Missing: "missing",
    TemporaryFailure: "temporary_failure",
}


class Screener(Struct, frozen=True):
    """What a listener's sessions share. ``hostname``: ours, which no client has."""

    look_ups: LookUps
    checks: Checks
    settings: Screening
    hostname: str
    protocol: Protocol = Protocol.SUBMISSION

    def begin(self, entry: Entry) -> Screened | None:
        """Start what is to be found out about a client who was let in; None for one who is known well enough."""
        if entry.standing is not Standing.STRANGER:
            return None
        client = _ip(entry.client)
        return None if is_private(client) else Screened(self, client)


class Screened:
    """One client under way. Whoever began it must ``end`` it; what was found stays."""

    __slots__ = ("_called", "_decided", "_early", "_helo", "_judged", "_listing", "_name", "_screener", "client")

    def __init__(self, screener: Screener, client: ClientIP) -> None:
        self._screener = screener
        self.client = client
        # What the client calls itself, and what that is worth: by its form, or else by the DNS.
        self._called: str | None = None
        self._helo: Helo | None = None
        self._judged: Beside[Helo] | None = None
        self._decided = self._early = False
        nursery, checks = screener.look_ups.nursery, screener.checks
        self._listing = Beside(nursery, self._ask_lists, _shown(self._unheard())) if checks.dnsbl else None
        self._name = Beside(nursery, self._find_name, _NOT_KNOWN) if checks.reverse_dns else None

    # -- what is asked for --------------------------------------------------------------------------

    async def decision(self, before: float) -> Decision:
        """What is done with the client. Waits for the DNS lists: for ``[dns] timeout``, and not beyond ``before``."""
        if self._listing is None:
            return _PASSES
        with trio.move_on_at(before):
            await self._listing.result()
        decision = decide(dnsbl_findings(self._listing.now, self._allow_lists), self._screener.settings)
        if not self._decided:
            self._decided = True
            self._screener.look_ups.trace.screened("dnsbl", decision.outcome)
        return decision

    async def name(self, before: float) -> ReverseName:
        """The client's name by the DNS. Waits for ``[dns] timeout``, and not beyond ``before``."""
        if self._name is None:
            return Missing()
        with trio.move_on_at(min(before, trio.current_time() + self._screener.look_ups.timeout)):
            await self._name.result()
        return self._name.now

    def greeted(self, name: str) -> None:
        """The client calls itself that in EHLO or HELO. A user's first name counts, a server's last one."""
        if not self._screener.checks.helo or name == self._called:
            return
        mx = self._screener.protocol is Protocol.MX
        if self._called is not None and not mx:
            return
        self._called = name
        self._helo = helo.judge_form(name, self.client, {self._screener.hostname.lower()})
        if self._judged is not None:
            self._judged.cancel()
            self._judged = None
        if self._helo is None and mx:
            look_ups = self._screener.look_ups
            self._judged = Beside(look_ups.nursery, partial(self._judge, name), Helo.TEMPORARY_FAILURE)
            return
        self._helo = self._helo or Helo.ELSEWHERE
        self._screener.look_ups.trace.screened("helo", self._helo)

    def pregreeted(self) -> None:
        """The client spoke before it was greeted, which no server does (RFC 5321 4.3.1)."""
        self._early = True
        self._screener.look_ups.trace.screened("pregreet", "early")

    async def findings(self, before: float) -> list[Finding]:
        """All that is against the client, for a server. Waits as ``decision`` and ``name`` do."""
        settings = self._screener.settings
        found: list[Finding] = []
        if self._early:
            found.append(Finding("pregreet", "spoke before the greeting", Action.SCORE, _PREGREET))
        until = min(before, trio.current_time() + self._screener.look_ups.timeout)
        if self._listing is not None:
            with trio.move_on_at(until):
                await self._listing.result()
            found += dnsbl_findings(self._listing.now, self._allow_lists)
        if self._name is not None and settings.reverse_dns is not Action.OFF:
            found += reverse_dns_findings(await self.name(until), settings.reverse_dns)
        if self._judged is not None:
            with trio.move_on_at(until):
                await self._judged.result()
        if (called := self._helo_now) is not None:
            found += helo_findings(called, settings.helo)
        return found

    @property
    def iprev(self) -> str | None:
        """The word for the client's name by now (RFC 8601 2.7.3), None where nobody asks for it."""
        return None if self._name is None else _IPREV[type(self._name.now)]

    @property
    def _helo_now(self) -> Helo | None:
        return self._helo if self._judged is None else self._judged.now

    @property
    def confirmed_name(self) -> str | None:
        """The client's name if it is known by now and leads back to the client."""
        found = None if self._name is None else self._name.now
        return found.name if isinstance(found, Confirmed) else None

    @property
    def lists(self) -> str:
        """The zones that have the client and speak against it."""
        bad = {shown(each.zone) for each in self._screener.look_ups.zones if each.weight > 0}
        listed = () if self._listing is None else self._listing.now.listed
        return ", ".join(dict.fromkeys(zone for zone, _ in listed if zone in bad))

    @property
    def _allow_lists(self) -> set[str]:
        asked = [each for each in self._screener.look_ups.zones if self._screener.protocol in each.protocols]
        return {shown(each.zone) for each in asked if each.weight < 0} - {
            shown(each.zone) for each in asked if each.weight >= 0
        }

    @property
    def found(self) -> str:
        """What is known by now that may speak against the client or for it, for a log; "" for nothing."""
        listed = () if self._listing is None else self._listing.now.listed
        found = [f"dnsbl {zone}={answer}" for zone, answer in listed]
        if self._screener.settings.reverse_dns is not Action.OFF and self._name is not None:
            match self._name.now:
                case Unconfirmed(name):
                    found.append(f"reverse_dns unconfirmed={name}")
                case Missing():
                    found.append("reverse_dns missing")
        if (called := self._helo_now) not in _NOTHING_AGAINST:
            found.append(f"helo {called}")
        if self._early:
            found.append("pregreet")
        return "; ".join(found)

    def end(self) -> None:
        """The session is over: nobody waits any more."""
        for check in (self._listing, self._name, self._judged):
            if check is not None:
                check.cancel()

    # -- look-ups, each in a task of its own --------------------------------------------------------

    async def _ask_lists(self) -> Listing:
        look_up = partial(self._screener.look_ups.lists.look_up, self.client, self._screener.protocol)
        return _shown(await self._safely("dnsbl", look_up, self._unheard()))

    def _unheard(self) -> Listing:
        """What is known while no list has answered: that an allow list may yet have the client."""
        look_ups, protocol = self._screener.look_ups, self._screener.protocol
        off = look_ups.lists.off
        lists = [each for each in look_ups.zones if protocol in each.protocols and each.zone not in off]
        return Listing(unknown=tuple(each.zone for each in lists), least=sum(min(each.weight, 0) for each in lists))

    async def _find_name(self) -> ReverseName:
        look_ups = self._screener.look_ups
        look_up = partial(reverse_dns.look_up, self.client, look_ups.resolver)
        found = await self._safely("reverse_dns", look_up, _NOT_KNOWN)
        look_ups.trace.screened("reverse_dns", _REVERSE_RESULTS[type(found)])
        return found

    async def _judge(self, name: str) -> Helo:
        look_ups = self._screener.look_ups
        look_up = partial(helo.judge, name, self.client, {self._screener.hostname.lower()}, look_ups.resolver)
        found = await self._safely("helo", look_up, Helo.TEMPORARY_FAILURE)
        look_ups.trace.screened("helo", found)
        return found

    async def _safely(self, check: str, look_up: Callable[[], Awaitable[_Result]], otherwise: _Result) -> _Result:
        """What a stranger has in the DNS must never end more than its own check."""
        try:
            return await look_up()
        except Exception as fault:  # noqa: BLE001 - the log has it
            while isinstance(fault, ExceptionGroup):
                fault = fault.exceptions[0]
            self._screener.look_ups.trace.screening_fault(check, type(fault).__name__)
            return otherwise


def _ip(client: ClientAddress) -> ClientIP:
    return IPv4Address(client.value) if client.version == 4 else IPv6Address(client.value)


def _shown(listing: Listing) -> Listing:
    """Without customers' keys."""
    return replace(
        listing,
        listed=tuple((shown(zone), answer) for zone, answer in listing.listed),
        unknown=tuple(map(shown, listing.unknown)),
    )
