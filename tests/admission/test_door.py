"""The door: who may come in, by the address alone, and what is counted of them."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest
import trio

from tests.admission.clock import Clock
from tests.gate import BanRecords, limits
from tlsgate import config
from tlsgate.admission.bans import Bans
from tlsgate.admission.door import Door, Entry, Turned
from tlsgate.admission.network import parse_client, parse_network
from tlsgate.admission.rules import AddressRules, Standing, load_rules
from tlsgate.admission.verdict import Verdict
from tlsgate.config.values import Network, parse_network_or_file
from tlsgate.state.memory import Memory
from tlsgate.state.store import STATE_DOWN, Place


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(each for each in map(parse_network_or_file, texts) if isinstance(each, Network))


RULES = load_rules(
    config.Admission(
        allow=_networks("192.0.2.1", "10.0.0.0/8"),
        block=_networks("192.0.2.0/24", "203.0.113.0/24", "2001:db8:bad::/48"),
        trust=_networks("192.0.2.2", "198.51.100.0/24"),
    )
)
ALLOWED, ALLOWED_IN_BLOCKED, BLOCKED, BLOCKED_TRUSTED, TRUSTED, STRANGER = (
    "10.1.1.1", "192.0.2.1", "203.0.113.1", "192.0.2.2", "198.51.100.1", "8.8.8.8"
)  # fmt: skip


def rated(count: int, seconds: float = 60.0, **changed: float) -> config.Limits:
    """Limits with a rate for each network."""
    return msgspec.structs.replace(limits(**changed), rate_per_network=config.Rate(count, seconds))


class Front:
    """A door and what is behind it, on one clock."""

    def __init__(self, bounds: config.Limits, rules: AddressRules = RULES, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.store = Memory(self.clock)
        self.bans = Bans(BanRecords(), self.clock)
        self.door = Door(bounds, rules, self.store, self.bans)

    def enter(self, address: str) -> Entry | Turned:
        return self.door.enter(parse_client(address))

    def let_in(self, address: str, times: int = 1) -> list[Entry]:
        entries = [self.enter(address) for _ in range(times)]
        return [each for each in entries if isinstance(each, Entry)]

    def verdict(self, address: str) -> Verdict:
        """Of one more who leaves at once."""
        entry = self.enter(address)
        if isinstance(entry, Turned):
            return entry.verdict
        self.door.leave(entry)
        return Verdict.ACCEPTED

    def ban(self, network: str) -> None:
        self.bans.add(parse_network(network)[0], 3600.0, "failed logins")


# -- caps ------------------------------------------------------------------------------------------------


def test_the_total_cap_holds_for_everybody() -> None:
    """Those who are allowed too: it is what this machine can bear."""
    front = Front(limits(connections=2))
    front.let_in(STRANGER, 2)
    assert [front.verdict(each) for each in (STRANGER, ALLOWED, TRUSTED, "unix")] == [Verdict.OVER_CAPACITY] * 4
    assert front.enter(STRANGER) == Turned(Verdict.OVER_CAPACITY, "")


def test_the_room_may_be_less_than_the_limit_says() -> None:
    """There are descriptors for so many only."""
    front = Front(limits(connections=100))
    front.door.room = 1
    front.let_in(STRANGER)
    assert front.verdict("9.9.9.9") is Verdict.OVER_CAPACITY


@pytest.mark.parametrize(
    ("inside", "other_of_it", "beside_it", "name"),
    [
        ("8.8.8.8", "8.8.8.8", "8.8.8.9", "8.8.8.8/32"),
        ("::ffff:8.8.8.8", "8.8.8.8", "8.8.8.9", "8.8.8.8/32"),
        ("2a00::1", "2a00::ffff:ffff:ffff:ffff", "2a00:0:0:1::", "2a00::/64"),
    ],
)
def test_a_network_has_so_many_places(inside: str, other_of_it: str, beside_it: str, name: str) -> None:
    """Of IPv6 it is a /64: one host has all of it."""
    front = Front(limits(connections_per_network=2))
    first, _ = front.let_in(inside, 2)
    assert front.enter(other_of_it) == Turned(Verdict.OVER_NETWORK_CAP, name)
    assert front.verdict(beside_it) is Verdict.ACCEPTED
    front.door.leave(first)
    assert front.verdict(other_of_it) is Verdict.ACCEPTED


def test_how_long_a_network_is_can_be_set() -> None:
    front = Front(limits(connections_per_network=1, ipv4_prefix=24, ipv6_prefix=48))
    front.let_in("8.8.8.8")
    front.let_in("2a00:1:2:3::1")
    assert front.verdict("8.8.8.9") is Verdict.OVER_NETWORK_CAP
    assert front.verdict("8.8.9.8") is Verdict.ACCEPTED
    assert front.verdict("2a00:1:2:4::1") is Verdict.OVER_NETWORK_CAP
    assert front.verdict("2a00:1:3:3::1") is Verdict.ACCEPTED


@pytest.mark.parametrize("address", [TRUSTED, ALLOWED, "unix"])
def test_who_is_known_to_us_has_no_cap_of_their_network(address: str) -> None:
    """A webmail is one address with a thousand users."""
    front = Front(limits(connections_per_network=1))
    assert len(front.let_in(address, 50)) == 50


def test_new_limits_are_for_those_to_come() -> None:
    front = Front(limits(connections_per_network=3, ipv4_prefix=32))
    entries = front.let_in(STRANGER, 3)
    front.door.limits = limits(connections_per_network=1, ipv4_prefix=24)
    assert front.verdict(STRANGER) is Verdict.ACCEPTED  # the new network has nobody in it
    entries += front.let_in(STRANGER)
    assert front.verdict("8.8.8.9") is Verdict.OVER_NETWORK_CAP
    for entry in entries:
        front.door.leave(entry)  # each gives back what it took, not what it would take now
    assert front.store.empty


# -- rates -----------------------------------------------------------------------------------------------


def test_a_network_comes_no_faster_than_its_rate() -> None:
    front = Front(rated(3))
    assert [front.verdict(STRANGER) for _ in range(4)] == [Verdict.ACCEPTED] * 3 + [Verdict.OVER_RATE]
    assert front.enter(STRANGER) == Turned(Verdict.OVER_RATE, "8.8.8.8/32")
    assert front.verdict("8.8.8.9") is Verdict.ACCEPTED
    front.clock.now += 60.0
    assert front.verdict(STRANGER) is Verdict.ACCEPTED


@pytest.mark.parametrize("address", [ALLOWED, "unix"])
def test_who_is_allowed_has_no_rate(address: str) -> None:
    front = Front(rated(1))
    assert len(front.let_in(address, 50)) == 50


def test_to_be_refused_for_the_cap_spends_nothing() -> None:
    """Else who waits for a place to come free is kept out by asking for it."""
    front = Front(rated(2, connections_per_network=1))
    (entry,) = front.let_in(STRANGER)
    assert [front.verdict(STRANGER) for _ in range(10)] == [Verdict.OVER_NETWORK_CAP] * 10
    front.door.leave(entry)
    assert front.verdict(STRANGER) is Verdict.ACCEPTED
    assert front.verdict(STRANGER) is Verdict.OVER_RATE


# -- rules and bans --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        (ALLOWED, Verdict.ACCEPTED),
        (ALLOWED_IN_BLOCKED, Verdict.ACCEPTED),
        (BLOCKED, Verdict.BLOCKED),
        (BLOCKED_TRUSTED, Verdict.BLOCKED),
        ("::ffff:203.0.113.1", Verdict.BLOCKED),
        ("2001:db8:bad::1", Verdict.BLOCKED),
        (TRUSTED, Verdict.ACCEPTED),
        (STRANGER, Verdict.BANNED),
        ("2a00::1", Verdict.BANNED),
        ("unix", Verdict.ACCEPTED),
    ],
)
def test_who_is_turned_away_while_everybody_is_banned(address: str, verdict: Verdict) -> None:
    """Bans are for strangers; a block is stronger than trust and weaker than an exception from it."""
    front = Front(limits())
    front.ban("0.0.0.0/0")
    front.ban("::/0")
    assert front.verdict(address) is verdict


def test_a_refusal_says_why() -> None:
    front = Front(limits())
    front.ban("8.8.8.0/24")
    assert front.enter(STRANGER) == Turned(Verdict.BANNED, "8.8.8.0/24: failed logins")
    assert front.enter(BLOCKED) == Turned(Verdict.BLOCKED, "203.0.113.0/24 in admission.block")


def test_a_ban_that_has_ended_lets_in() -> None:
    front = Front(limits())
    front.ban("8.8.8.8/32")
    front.clock.now += 3600.0
    assert front.verdict(STRANGER) is Verdict.ACCEPTED


def test_new_rules_hold_at_once() -> None:
    front = Front(limits())
    assert front.verdict(BLOCKED) is Verdict.BLOCKED
    front.door.rules = AddressRules()
    assert front.verdict(BLOCKED) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("address", "standing"), [(ALLOWED, Standing.ALLOWED), (TRUSTED, Standing.TRUSTED), (STRANGER, Standing.STRANGER)]
)
def test_who_is_let_in_keeps_their_standing(address: str, standing: Standing) -> None:
    (entry,) = Front(limits()).let_in(address)
    assert entry.standing is standing


# -- exactly ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_place_comes_back(seed: int) -> None:
    """10,000 come and go, most of them refused; a place that a refusal keeps is lost until the next restart."""
    dice = random.Random(seed)
    front = Front(rated(7, 10.0, connections=60, connections_per_network=5))
    addresses = [ALLOWED, BLOCKED, TRUSTED, "unix", *(f"8.8.8.{last}" for last in range(20)), "2a00::1", "2a00::2"]
    inside: list[Entry] = []
    verdicts = set()
    for _ in range(10_000):
        front.clock.now += dice.expovariate(20)
        if inside and dice.random() < dice.choice((0.1, 0.6)):
            front.door.leave(inside.pop(dice.randrange(len(inside))))
        entry = front.enter(dice.choice(addresses))
        if isinstance(entry, Entry):
            inside.append(entry)
        else:
            verdicts.add(entry.verdict)
        assert front.door.used == len(inside) <= 60
        strangers = [str(each.network) for each in inside if each.standing is Standing.STRANGER]
        assert all(front.store.used(f"network {each}") == strangers.count(each) <= 5 for each in set(strangers))
    assert verdicts == {Verdict.OVER_CAPACITY, Verdict.OVER_NETWORK_CAP, Verdict.OVER_RATE, Verdict.BLOCKED}
    for entry in inside:
        front.door.leave(entry)
    assert front.store.empty


# -- counted over replicas -------------------------------------------------------------------------------


class Away(Memory):
    """A shared store that is there for ``calls`` more calls, then nobody may enter."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._calls = calls

    def _there(self) -> bool:
        self._calls -= 1
        return self._calls >= 0

    async def enter(self, places: Iterable[Place]) -> Place | None:
        return await super().enter(places) if self._there() else STATE_DOWN

    async def spend(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
        return self._there() and await super().spend(key, count, seconds, amount)


class Fronts:
    """The doors of two replicas, and what they share, on one clock."""

    def __init__(self, bounds: config.Limits, shared: Memory | None = None) -> None:
        self.first = Front(bounds)
        self.second = Front(bounds, clock=self.first.clock)
        self.shared = shared or Memory(self.first.clock)
        for front in (self.first, self.second):
            front.door.elsewhere = self.shared

    async def enter(self, front: Front, address: str = STRANGER) -> Entry | Verdict:
        """As a listener does it."""
        entry = front.enter(address)
        if isinstance(entry, Turned):
            return entry.verdict
        confirmed = await front.door.confirm(entry)
        if isinstance(confirmed, Turned):
            front.door.leave(entry)
            return confirmed.verdict
        return confirmed

    async def taken(self, count: int, address: str = STRANGER) -> list[tuple[Front, Entry]]:
        """That many are let in, at one door after the other."""
        entries = []
        for number in range(count):
            front = (self.first, self.second)[number % 2]
            entry = await self.enter(front, address)
            assert isinstance(entry, Entry)
            entries.append((front, entry))
        return entries


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        (limits(connections=5), Verdict.OVER_CAPACITY),
        (limits(connections_per_network=5), Verdict.OVER_NETWORK_CAP),
        (rated(5), Verdict.OVER_RATE),
    ],
)
async def test_what_is_allowed_is_allowed_to_all_replicas_together(bounds: config.Limits, verdict: Verdict) -> None:
    both = Fronts(bounds)
    entries = await both.taken(5)
    for front in (both.first, both.second):
        assert await both.enter(front) is verdict
    for front, entry in entries:
        front.door.leave(entry)
    assert both.first.store.empty
    assert both.second.store.empty
    assert both.shared.empty
    both.first.clock.now += 60.0
    await both.taken(5)


async def test_to_be_refused_for_a_cap_of_all_replicas_spends_nothing() -> None:
    """A client that asks again and again while it is over its cap would be kept out when it no longer is."""
    both = Fronts(rated(3, connections_per_network=2))
    entries = await both.taken(2)
    for _ in range(5):
        assert await both.enter(both.first) is Verdict.OVER_NETWORK_CAP
    for front, entry in entries:
        front.door.leave(entry)
    assert isinstance(await both.enter(both.first), Entry)


async def test_who_is_over_their_rate_here_is_refused_without_asking() -> None:
    """A flood must not become one of questions to the shared store."""
    both = Fronts(rated(4))
    for _ in range(4):
        await both.enter(both.first)
    both.first.door.elsewhere = Away(0)
    assert both.first.verdict(STRANGER) is Verdict.OVER_RATE
    assert both.second.verdict(STRANGER) is Verdict.ACCEPTED  # it must ask


@pytest.mark.parametrize("calls", [0, 1])
async def test_a_shared_store_that_goes_away_is_not_the_clients_fault(calls: int) -> None:
    """Between the two questions too: "too fast" in the log would have an operator look at the client."""
    both = Fronts(limits(), Away(calls))
    assert await both.enter(both.first) is Verdict.STATE_DOWN
    assert both.shared.empty
    assert both.first.store.empty


async def test_who_is_allowed_is_in_no_count_but_the_total() -> None:
    both = Fronts(rated(1, connections=3, connections_per_network=1))
    await both.taken(3, ALLOWED)
    assert await both.enter(both.first, ALLOWED) is Verdict.OVER_CAPACITY
    assert both.shared.used("connections") == 3


async def test_to_be_cancelled_between_the_questions_keeps_no_place() -> None:
    """A listener that a reload removes would else hold places for ever."""

    class Slow(Memory):
        async def spend(self, key: str, count: int, seconds: float, amount: int = 1) -> bool:
            scope.cancel()
            await trio.sleep_forever()
            raise AssertionError

    both = Fronts(limits(), Slow())
    entry = both.first.enter(STRANGER)
    assert isinstance(entry, Entry)
    with trio.CancelScope() as scope:
        await both.first.door.confirm(entry)
    assert scope.cancelled_caught
    assert both.shared.empty
