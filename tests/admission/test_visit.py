"""Visits: what one connection asks of admission, and that it gives back what it holds."""

from __future__ import annotations

import pytest
import trio

from tests.gate import Admission, admission, limits
from tlsgate import config
from tlsgate.admission.door import Entry
from tlsgate.admission.network import ClientAddress, parse_client
from tlsgate.admission.rules import AddressRules, load_rules
from tlsgate.admission.visit import Visit
from tlsgate.config.values import Network, parse_network_or_file

STRANGER, TRUSTED, ALLOWED = "8.8.8.8", "198.51.100.1", "10.1.1.1"


def _networks(text: str) -> tuple[Network, ...]:
    network = parse_network_or_file(text)
    assert isinstance(network, Network)
    return (network,)


RULES = load_rules(config.Admission(allow=_networks("10.0.0.0/8"), trust=_networks("198.51.100.0/24")))


class Hall:
    """A door with its desk. ``left``: the visits that have ended."""

    def __init__(self, rooms: Admission) -> None:
        self.rooms = rooms
        self.left: list[Visit] = []
        self.desk = rooms.desk(self._left)

    def _left(self, visit: Visit) -> None:
        self.rooms.door.leave(visit.entry)
        self.left.append(visit)

    def visit(self, address: str = STRANGER) -> Visit:
        entry = self.rooms.door.enter(parse_client(address))
        assert isinstance(entry, Entry)
        return Visit(entry, self.desk)


@pytest.fixture
async def hall() -> Hall:
    return Hall(admission(limits(connections_per_user=2), RULES, config.Bans(failures=3, user_failures=3)))


async def test_a_user_has_so_many_places_over_all_networks(hall: Hall) -> None:
    first, second, third = hall.visit(), hall.visit("8.8.8.9"), hall.visit(TRUSTED)
    assert await first.logged_in("ann") is None
    assert await second.logged_in("Ann") is None
    assert await third.logged_in("ANN") is not None
    assert await third.logged_in("bob") is None
    first.leave()
    assert await hall.visit().logged_in("ann") is None


async def test_a_visit_gives_everything_back(hall: Hall) -> None:
    visits = [hall.visit() for _ in range(4)]
    for visit in visits[:3]:
        await visit.logged_in("ann")  # the third has no place, and mustn't give one back
    for visit in visits:
        visit.leave()
    assert hall.left == visits
    assert hall.rooms.store.empty


async def test_who_has_no_place_was_not_there(hall: Hall) -> None:
    """A login that is turned away for its number must not make the network known."""
    for _ in range(2):
        assert await hall.visit("8.8.4.4").logged_in("ann") is None
    assert await hall.visit().logged_in("ann") is not None
    for number in range(4):
        await hall.visit(f"8.8.1.{number}").failed("ann", b"guess %d" % number)
    delay = await hall.visit().before_login("ann")
    assert delay is not None
    assert delay > 0
    assert await hall.visit("8.8.4.4").before_login("ann") == 0


async def test_a_stranger_is_delayed_and_then_banned(hall: Hall) -> None:
    visit = hall.visit()
    for number in range(2):
        await visit.failed("ann", b"guess %d" % number)
    assert await hall.visit().before_login("bob") == 2
    await visit.mistaken("ann", "cleartext PLAIN")
    assert await visit.before_login("ann") is None
    assert len(hall.rooms.bans) == 1


async def test_a_mistake_that_a_phone_has_saved_counts_once(hall: Hall) -> None:
    """One phone without TLS must not ban the whole house that it is in; many names without TLS are no phone."""
    visit = hall.visit()
    for _ in range(50):
        await visit.mistaken("ann", "cleartext PLAIN")
    assert await hall.visit().before_login("bob") == 1
    assert not hall.rooms.bans
    for number in range(2):
        await visit.mistaken(f"user {number}", "cleartext PLAIN")
    assert len(hall.rooms.bans) == 1


@pytest.mark.parametrize("address", [TRUSTED, ALLOWED, "unix"])
async def test_who_is_trusted_is_neither_delayed_nor_banned(hall: Hall, address: str) -> None:
    """Their users' mistakes are theirs; and strangers' guesses at a name must not slow a webmail."""
    visit = hall.visit(address)
    for number in range(20):
        await visit.failed("ann", b"guess %d" % number)
        await hall.visit(f"8.8.1.{number}").failed("ann", b"guess %d" % number)
    hall.rooms.bans.add(hall.rooms.penalties.lengths.network(parse_client("198.51.100.1")), 3600.0, "by mistake")
    assert await visit.before_login("ann") == 0


async def test_a_trusted_clients_login_makes_no_network_known(hall: Hall) -> None:
    visit = hall.visit(TRUSTED)
    assert await visit.logged_in("ann") is None
    for number in range(5):
        await hall.visit(f"8.8.1.{number}").failed("ann", b"guess %d" % number)
    client: ClientAddress = visit.entry.client
    assert await hall.rooms.penalties.before_login(client, "ann") != 0


async def test_to_be_cancelled_in_a_login_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With shared state each of these steps waits: the shutdown may come in any of them."""
    hall = Hall(admission(limits(), AddressRules(), config.Bans()))

    async def slow(client: ClientAddress, user: str) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(hall.rooms.penalties, "logged_in", slow)
    visit = hall.visit()
    with trio.move_on_after(0):
        await visit.logged_in("ann")
    assert hall.rooms.store.used("user ann") == 1
    visit.leave()
    assert hall.rooms.store.empty
