"""URI lists (RFC 5782 2.3 and 5): which sites are listed, and whether a list is in its senses."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol as Interface

import trio
from msgspec import Struct

from tlsgate.admission.dnsbl import Result
from tlsgate.admission.reversed_name import reversed_name
from tlsgate.dns import Answer, Failed, Failure, Found, Kind, Missing, Resolver
from tlsgate.mail.surbl.site import Site

_TEST_EVERY = 3600.0
_TEST_AGAIN = 60.0  # while a test has had no answer
_ANSWERS = IPv4Network("127.0.0.0/8")
_ERRORS = IPv4Network("127.255.255.0/24")  # Spamhaus
_BLOCKED = IPv4Address("127.0.0.1")  # SURBL, URIBL: whoever asks through a public resolver, or too often
_ADDRESSES_PROHIBITED = IPv4Address("127.0.1.255")  # Spamhaus DBL, to the question about any address
# A list must have one of these: RFC 5782 5, addresses' lists, SURBL's and Spamhaus' own test entries.
_GOOD = ("test", "2.0.0.127", "surbl-org-permanent-test-point.com", "dbltest.com")
_BAD = "invalid"  # RFC 5782 5: it mustn't have that
_LONGEST = 253


class SurblTrace(Interface):
    """What is told of each question, and of lists that are switched off and on. ``zone``: from the config."""

    def surbl(self, zone: str, result: Result) -> None: ...

    def surbl_zone_off(self, zone: str, reason: str) -> None: ...

    def surbl_zone_on(self, zone: str) -> None: ...

    def screening_fault(self, check: str, fault: str) -> None: ...


def tell_fault(trace: SurblTrace, fault: Exception) -> None:
    """Tell of a fault of ours by its type: its text may be a stranger's."""
    while isinstance(fault, ExceptionGroup):
        fault = fault.exceptions[0]
    trace.screening_fault("surbl", type(fault).__name__)


class Listed(Struct, frozen=True):
    """A site that is on a list."""

    site: Site
    zone: str
    answer: IPv4Address

    @property
    def bits(self) -> int:
        """Which of the lists in the zone have it; multi.surbl.org: 8 phishing, 16 malware, 64 abuse, 128 cracked."""
        return int(self.answer) & 0xFF


class SurblLists:
    """``[screening] surbl_zones``. ``test`` them before they are asked, and ``watch`` them from then on."""

    def __init__(self, zones: Sequence[str], resolver: Resolver, trace: SurblTrace) -> None:
        self.zones = tuple(dict.fromkeys(zones))
        self.trace = trace
        self._resolver = resolver
        self._off: dict[str, str] = {}

    @property
    def off(self) -> dict[str, str]:
        """Zones that are switched off, and why."""
        return dict(self._off)

    async def look_up(self, site: Site, zone: str) -> Listed | Result:
        """Ask one list about one site, within ``[dns] timeout``."""
        if zone in self._off:
            found: Listed | Result = Result.OFF
        elif len(name := _name(site, zone)) > _LONGEST:
            found = Result.NOT_LISTED
        else:
            found = self._read(site, zone, await self._resolver.ask(name, Kind.A))
        self.trace.surbl(zone, Result.LISTED if isinstance(found, Listed) else found)
        return found

    def _read(self, site: Site, zone: str, answer: Answer) -> Listed | Result:
        if error := _error(answer):
            self._switch_off(zone, error)
        if zone in self._off:  # by another question, while this one was under way
            return Result.OFF
        match answer:
            case Failed(Failure.TIMEOUT):
                return Result.TIMEOUT
            case Failed():
                return Result.FAILED
            case Missing():
                return Result.NOT_LISTED
        addresses = [each for each in _addresses(answer) if each != _ADDRESSES_PROHIBITED]
        return Listed(site, zone, addresses[0]) if addresses else Result.OUTSIDE

    # -- is a list in its senses? -------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Test the lists now, when the task has started, and each hour from then on."""
        sure = await self._safely_tested()
        task_status.started()
        while True:
            await trio.sleep(_TEST_EVERY if sure else _TEST_AGAIN)
            sure = await self._safely_tested()

    async def _safely_tested(self) -> bool:
        try:
            return await self.test()
        except Exception as fault:  # noqa: BLE001 - the log has it
            tell_fault(self.trace, fault)
            return False

    async def test(self) -> bool:
        """Switch lists off and on by their test entries. Gives whether each has had a verdict; one without stays so."""
        verdicts: list[bool] = []

        async def test_one(zone: str) -> None:
            verdicts.append(await self._test_one(zone))

        async with trio.open_nursery() as nursery:
            for zone in self.zones:
                nursery.start_soon(test_one, zone)
        return all(verdicts)

    async def _test_one(self, zone: str) -> bool:
        answers: dict[str, Answer] = {}

        async def ask(entry: str) -> None:
            answers[entry] = await self._resolver.ask(f"{entry}.{zone}", Kind.A)

        async with trio.open_nursery() as nursery:
            for entry in (*_GOOD, _BAD):
                nursery.start_soon(ask, entry)
        if fault := _fault(answers):
            self._switch_off(zone, fault)
            return True
        if answers[_BAD] == Missing() and any(_addresses(answers[good]) for good in _GOOD):
            self._switch_on(zone)
            return True
        return False

    def _switch_off(self, zone: str, reason: str) -> None:
        if zone not in self._off:
            self.trace.surbl_zone_off(zone, reason)
        self._off[zone] = reason

    def _switch_on(self, zone: str) -> None:
        if self._off.pop(zone, None) is not None:
            self.trace.surbl_zone_on(zone)


def _fault(answers: dict[str, Answer]) -> str:
    """What is wrong with a list by its answers to the test entries; "" when nothing is, or nothing is known."""
    for answer in answers.values():
        if error := _error(answer):
            return error
    if isinstance(answers[_BAD], Found):
        return f'it lists "{_BAD}", so it lists everybody'
    if not any(isinstance(answers[good], Failed) or _addresses(answers[good]) for good in _GOOD):
        return "it lists none of the usual test entries, so it lists nobody"
    return ""


def _name(site: Site, zone: str) -> str:
    return f"{site}.{zone}" if isinstance(site, str) else reversed_name(site, zone)


def _addresses(answer: Answer) -> list[IPv4Address]:
    """The answers that say something."""
    found = [IPv4Address(each) for each in answer.records] if isinstance(answer, Found) else []
    return [each for each in found if each in _ANSWERS]


def _error(answer: Answer) -> str:
    """The answer by which a list says that it doesn't serve us, or ""."""
    errors = [each for each in _addresses(answer) if each in _ERRORS or each == _BLOCKED]
    return f"it answers {errors[0]}, which means that it refuses to serve us" if errors else ""
