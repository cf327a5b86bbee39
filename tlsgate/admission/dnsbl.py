"""DNS lists (RFC 5782): who has listed a client's address, and whether a list is in its senses."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from typing import Protocol as Interface

import trio
from msgspec import Struct

from tlsgate.admission.reversed_name import ClientIP, plain, reversed_name
from tlsgate.config import Dnsbl, Protocol
from tlsgate.dns import Answer, Failed, Failure, Found, Kind, Missing, Resolver

_TEST_EVERY = 3600.0
_TEST_AGAIN = 60.0  # while a test has had no answer
_ANSWERS = IPv4Network("127.0.0.0/8")
_ERRORS = IPv4Network("127.255.255.0/24")  # Spamhaus: "a wrong query", "through a public resolver", "too many"
# RFC 5782 5: the entry that a list must have, and the one that it mustn't.
_ENTRIES = (
    (IPv4Address("127.0.0.2"), IPv4Address("127.0.0.1")),
    (IPv6Address("::ffff:127.0.0.2"), IPv6Address("::ffff:127.0.0.1")),
)
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))


class Result(enum.StrEnum):
    """What came of asking one list; also the ``result`` label of tlsgate_screening_total{check="dnsbl"}."""

    LISTED = "listed"
    NOT_LISTED = "not_listed"
    TIMEOUT = "timeout"
    FAILED = "failed"
    OUTSIDE = "outside"  # it has answered with an address outside 127.0.0.0/8, which says nothing
    OFF = "off"


class DnsblTrace(Interface):
    """What is told of each list that is asked, and of lists that are switched off and on. ``zone``: from the config."""

    def dnsbl(self, zone: str, result: Result) -> None: ...

    def dnsbl_zone_off(self, zone: str, reason: str) -> None: ...

    def dnsbl_zone_on(self, zone: str) -> None: ...


class Listing(Struct, frozen=True):
    """The lists' weights summed up. ``listed``: zones, with the first answer that counts; ``unknown``: zones without.

    ``least``: the score if every allow list among the unknown had the client.
    """

    score: int = 0
    listed: tuple[tuple[str, IPv4Address], ...] = ()
    unknown: tuple[str, ...] = ()
    least: int = 0


class DnsLists:
    """The ``[[dnsbl]]`` of a config. ``test`` them before they are asked, and ``watch`` them from then on."""

    def __init__(self, lists: Sequence[Dnsbl], resolver: Resolver, trace: DnsblTrace) -> None:
        self._lists = lists
        self._resolver = resolver
        self._trace = trace
        self._off: dict[str, str] = {}

    @property
    def off(self) -> dict[str, str]:
        """Zones that are switched off, and why."""
        return dict(self._off)

    async def look_up(self, client: ClientIP, protocol: Protocol) -> Listing:
        """Ask the lists of a protocol, side by side. Private addresses are on none."""
        client = plain(client)
        lists = [each for each in self._lists if protocol in each.protocols]
        if is_private(client):
            return Listing()
        answers: dict[str, Answer] = {}
        async with trio.open_nursery() as nursery:
            for zone in {each.zone for each in lists if each.zone not in self._off}:
                nursery.start_soon(self._ask, client, zone, answers)
        for zone, answer in answers.items():
            if error := _error(answer):
                self._switch_off(zone, error)
        return self._sum_up(lists, answers)

    async def _ask(self, client: ClientIP, zone: str, answers: dict[str, Answer]) -> None:
        answers[zone] = await self._resolver.ask(reversed_name(client, zone), Kind.A)

    def _sum_up(self, lists: Sequence[Dnsbl], answers: Mapping[str, Answer]) -> Listing:
        score = least = 0
        listed: list[tuple[str, IPv4Address]] = []
        unknown: list[str] = []
        for each in lists:
            answer = answers.get(each.zone)
            if answer is None or each.zone in self._off:
                self._trace.dnsbl(each.zone, Result.OFF)
                continue
            counting = [one for one in _addresses(answer) if any(r.first <= one <= r.last for r in each.answers)]
            if counting:
                score += each.weight
                listed.append((each.zone, counting[0]))
            elif isinstance(answer, Failed):
                least += min(each.weight, 0)
                unknown.append(each.zone)
            self._trace.dnsbl(each.zone, Result.LISTED if counting else _result(answer))
        return Listing(score, tuple(listed), tuple(unknown), score + least)

    # -- is a list in its senses? -------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Test the lists now, when the task has started, and each hour from then on."""
        sure = await self.test()
        task_status.started()
        while True:
            await trio.sleep(_TEST_EVERY if sure else _TEST_AGAIN)
            sure = await self.test()

    async def test(self) -> bool:
        """Switch lists off and on by their test entries. Gives whether each has had a verdict; one without stays so."""
        verdicts: list[bool] = []

        async def test_one(zone: str) -> None:
            verdicts.append(await self._test_one(zone))

        async with trio.open_nursery() as nursery:
            for zone in {each.zone for each in self._lists}:
                nursery.start_soon(test_one, zone)
        return all(verdicts)

    async def _test_one(self, zone: str) -> bool:
        answers: dict[ClientIP, Answer] = {}

        async def ask(entry: ClientIP) -> None:
            answers[entry] = await self._resolver.ask(reversed_name(entry, zone), Kind.A)

        async with trio.open_nursery() as nursery:
            for pair in _ENTRIES:
                for entry in pair:
                    nursery.start_soon(ask, entry)
        if fault := _fault(answers):
            self._switch_off(zone, fault)
            return True
        if any(_lists(answers[good]) and answers[bad] == Missing() for good, bad in _ENTRIES):
            self._switch_on(zone)
            return True
        return False

    def _switch_off(self, zone: str, reason: str) -> None:
        if zone not in self._off:
            self._trace.dnsbl_zone_off(zone, reason)
        self._off[zone] = reason

    def _switch_on(self, zone: str) -> None:
        if self._off.pop(zone, None) is not None:
            self._trace.dnsbl_zone_on(zone)


def _fault(answers: dict[ClientIP, Answer]) -> str:
    """What is wrong with a list by its answers to the test entries; "" when nothing is, or nothing is known."""
    for answer in answers.values():
        if error := _error(answer):
            return error
    for _, bad in _ENTRIES:
        if isinstance(answers[bad], Found):
            return f"it lists {bad}, so it lists everybody"
    if all(isinstance(answers[good], Missing) or _outside(answers[good]) for good, _ in _ENTRIES):
        return "it doesn't list its test entry 127.0.0.2, so it lists nobody"
    return ""


def is_private(client: ClientIP) -> bool:
    """Whether no public list can know an address: it is another client's elsewhere."""
    if client.is_loopback or client.is_link_local or client.is_unspecified:
        return True
    return any(client in network for network in _PRIVATE)


def _addresses(answer: Answer) -> list[IPv4Address]:
    """The answers that say something."""
    found = [IPv4Address(each) for each in answer.records] if isinstance(answer, Found) else []
    return [each for each in found if each in _ANSWERS]


def _error(answer: Answer) -> str:
    """The answer by which a list says that it serves us no longer, or ""."""
    errors = [each for each in _addresses(answer) if each in _ERRORS]
    return f"it answers {errors[0]}, which means that it refuses to serve us" if errors else ""


def _lists(answer: Answer) -> bool:
    return bool(_addresses(answer))


def _outside(answer: Answer) -> bool:
    return isinstance(answer, Found) and not _addresses(answer)


def _result(answer: Answer) -> Result:
    """What an answer means that lists nobody."""
    match answer:
        case Failed(Failure.TIMEOUT):
            return Result.TIMEOUT
        case Failed():
            return Result.FAILED
        case Found() if _outside(answer):
            return Result.OUTSIDE
        case _:
            return Result.NOT_LISTED
