"""Bans: who is found in one, for how long, what is told of it, and what a dump carries over."""

from __future__ import annotations

import ipaddress
import sys
import threading
import time

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.admission.clock import Clock
from tests.gate import BanRecords
from tlsgate.admission import bans as bans_module
from tlsgate.admission.bans import Ban, Bans, encode
from tlsgate.admission.network import Network, network_of, parse_client, parse_network

HOUR, DAY = 3600.0, 86_400.0
NETWORK = parse_network("192.0.2.0/24")[0]
CLIENT = parse_client("192.0.2.7")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> BanRecords:
    return BanRecords()


@pytest.fixture
def bans(told: BanRecords, clock: Clock) -> Bans:
    return Bans(told, clock)


def _networks(bans: Bans) -> list[str]:
    return [ban.network for ban in bans.active()]


# -- finding ---------------------------------------------------------------------------------------------

addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
)


@st.composite
def networks(draw: st.DrawFn, near: st.SearchStrategy[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> str:
    address = draw(near)
    length = draw(st.integers(0, address.max_prefixlen))
    return str(ipaddress.ip_network((address, length), strict=False))


@settings(deadline=None)
@given(data=st.data(), address=addresses)
def test_a_client_is_found_in_the_widest_ban_that_holds_it(
    data: st.DataObject, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    """Against the standard library's own arithmetic, while bans come and are lifted."""
    bans, given_networks = Bans(BanRecords(), Clock()), set()
    for text in data.draw(st.lists(networks(st.one_of(st.just(address), addresses)), max_size=8)):
        bans.add(parse_network(text)[0], HOUR, "")
        given_networks.add(ipaddress.ip_network(text))
    for each in data.draw(
        st.sets(st.sampled_from(sorted(given_networks, key=str)) if given_networks else st.nothing())
    ):
        assert bans.lift(network_of(each), "")
        given_networks.discard(each)
    holding = [each for each in given_networks if each.version == address.version and address in each]
    found = bans.find(parse_client(str(address)))
    if address.version == 6 and (address.ipv4_mapped is not None or parse_client(str(address)).embedded is not None):
        return
    # Compared as networks: one of ::/96 has two spellings.
    expected = min(holding, key=lambda each: each.prefixlen, default=None)
    assert (found and ipaddress.ip_network(found.network)) == expected


def test_a_ban_holds_to_its_end_and_not_longer(bans: Bans, clock: Clock) -> None:
    bans.punish(NETWORK, HOUR, "failed logins")
    clock.now += HOUR - 0.001
    assert bans.find(CLIENT) is not None
    assert len(bans) == 1
    clock.now += 0.001
    assert bans.find(CLIENT) is None
    assert len(bans) == 0
    assert _networks(bans) == []


def test_a_narrow_ban_holds_where_a_wide_one_has_ended(bans: Bans, clock: Clock) -> None:
    bans.add(parse_network("192.0.0.0/16")[0], 60.0, "")
    bans.add(NETWORK, HOUR, "")
    clock.now += 61.0
    found = bans.find(CLIENT)
    assert found is not None
    assert found.network == "192.0.2.0/24"


def test_a_unix_sockets_client_is_in_no_ban(bans: Bans) -> None:
    bans.add(parse_network("0.0.0.0/0")[0], HOUR, "")
    assert bans.find(parse_client("unix")) is None


@pytest.mark.parametrize("client", ["2002:c000:207::1", "64:ff9b::c000:207"])
def test_a_client_by_6to4_or_nat64_is_in_the_ban_of_its_ipv4_address(bans: Bans, client: str) -> None:
    """A guesser goes on from the same address by another way in."""
    ban = bans.punish(NETWORK, HOUR, "failed logins")
    assert bans.find(parse_client(client)) == ban
    bans.lift(NETWORK, "admin")
    assert bans.find(parse_client(client)) is None


# -- lengths ---------------------------------------------------------------------------------------------


def _lengths(bans: Bans, clock: Clock, seconds: float, times: int, pause: float = 1.0) -> list[float]:
    lengths = []
    for _ in range(times):
        ban = bans.punish(NETWORK, seconds, "failed logins")
        lengths.append(ban.until - ban.since)
        clock.now = ban.until + pause
    return lengths


def test_each_ban_is_twice_as_long_as_the_last_to_a_day(bans: Bans, clock: Clock) -> None:
    assert _lengths(bans, clock, HOUR, 7) == [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, DAY, DAY]


def test_no_count_is_too_high(bans: Bans, clock: Clock) -> None:
    """Who is banned for years must not end the gateway by an overflow."""
    assert _lengths(bans, clock, HOUR, 3000)[-1] == DAY


def test_a_first_ban_of_a_day_stays_one(bans: Bans, clock: Clock) -> None:
    assert _lengths(bans, clock, DAY, 2) == [DAY, DAY]


@pytest.mark.parametrize("swept", [True, False])
def test_a_day_without_a_ban_is_a_new_start(bans: Bans, clock: Clock, swept: bool) -> None:
    bans.punish(NETWORK, HOUR, "failed logins")
    clock.now += HOUR + DAY - 1
    bans.sweep()
    assert bans.punish(NETWORK, HOUR, "failed logins").count == 2
    clock.now += 2 * HOUR + DAY
    if swept:
        bans.sweep()
    assert bans.punish(NETWORK, HOUR, "failed logins").count == 1


def test_an_administrators_ban_is_as_long_as_they_say(bans: Bans, clock: Clock) -> None:
    bans.punish(NETWORK, HOUR, "failed logins")
    ban = bans.add(NETWORK, 7 * DAY, "spam")
    assert (ban.until - ban.since, ban.reason) == (7 * DAY, "spam")
    clock.now += 2 * DAY
    bans.sweep()
    assert bans.find(CLIENT) == ban


# -- what is told ----------------------------------------------------------------------------------------


def test_a_ban_and_its_end_are_told_once(bans: Bans, told: BanRecords, clock: Clock) -> None:
    ban = bans.punish(NETWORK, HOUR, "failed logins")
    assert told.banned_networks == [ban]
    for _ in range(4000):
        bans.sweep()
        clock.now += 1.0
    clock.now += DAY
    bans.sweep()
    assert told.unbanned_networks == [("192.0.2.0/24", "time")]


def test_the_end_is_told_even_if_another_ban_comes_first(bans: Bans, told: BanRecords, clock: Clock) -> None:
    """Between an end and the next sweep is up to a second: on a busy gateway something always happens then."""
    bans.punish(NETWORK, 60.0, "failed logins")
    clock.now += 60.5
    other = parse_network("198.51.100.0/24")[0]
    bans.punish(other, HOUR, "failed logins")
    bans.lift(other, "admin")
    bans.sweep()
    assert told.unbanned_networks == [("198.51.100.0/24", "admin"), ("192.0.2.0/24", "time")]


def test_a_ban_that_was_lifted_is_over_and_told_once(bans: Bans, told: BanRecords, clock: Clock) -> None:
    bans.punish(NETWORK, HOUR, "failed logins")
    assert bans.lift(NETWORK, "admin")
    assert not bans.lift(NETWORK, "admin")
    assert bans.find(CLIENT) is None
    clock.now += HOUR
    bans.sweep()
    assert told.unbanned_networks == [("192.0.2.0/24", "admin")]
    assert bans.punish(NETWORK, HOUR, "failed logins").count == 1


def test_a_ban_that_was_made_longer_ends_once(bans: Bans, told: BanRecords, clock: Clock) -> None:
    bans.add(NETWORK, 60.0, "spam")
    bans.add(NETWORK, HOUR, "spam")
    clock.now += 61.0
    bans.sweep()
    assert not told.unbanned_networks
    clock.now += HOUR
    bans.sweep()
    assert told.unbanned_networks == [("192.0.2.0/24", "time")]


def test_many_ends_at_once_are_told_bit_by_bit(
    bans: Bans, told: BanRecords, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, they would hold the loop for as long as it takes to log them."""
    monkeypatch.setattr(bans_module, "_SWEPT_AT_ONCE", 2)
    for number in range(5):
        bans.add(Network(4, number << 8, 24), 60.0, "spam")
    clock.now += 61.0
    ends = []
    for _ in range(4):
        bans.sweep()
        ends.append(len(told.unbanned_networks))
    assert ends == [2, 4, 5, 5]


# -- what others decide ----------------------------------------------------------------------------------


def test_what_others_decide_is_in_force_saved_and_told_as_theirs(bans: Bans, told: BanRecords, clock: Clock) -> None:
    """By the log alone nobody could say why a client is refused."""
    changes: list[bool] = []
    decided: list[tuple[Ban, bool]] = []
    bans.changed = lambda: changes.append(True)
    bans.decided = lambda ban, lifted: decided.append((ban, lifted))
    ban = Ban(str(NETWORK), clock.now, clock.now + 60.0, 2, "failed logins")
    for _ in range(2):
        bans.put(NETWORK, ban, "another replica")
    assert bans.find(CLIENT) == ban
    assert [each.reason for each in told.banned_networks] == ["failed logins (by another replica)"]
    for _ in range(2):
        bans.forget(NETWORK, "replica")
    assert bans.find(CLIENT) is None
    assert told.unbanned_networks == [("192.0.2.0/24", "replica")]
    assert len(changes) == 2
    assert not decided, "what others decided would go back to them, forever"


def test_who_shares_bans_hears_of_those_that_were_made_or_lifted_here(bans: Bans, clock: Clock) -> None:
    decided: list[tuple[Ban, bool]] = []
    bans.decided = lambda ban, lifted: decided.append((ban, lifted))
    ban = bans.punish(NETWORK, 60.0, "failed logins")
    bans.lift(NETWORK, "admin")
    short = bans.add(NETWORK, 60.0, "spam")
    clock.now += 61.0
    bans.lift(NETWORK, "admin")  # it had ended: others know that
    assert decided == [(ban, False), (ban, True), (short, False)]


def test_a_ban_that_others_say_has_ended_is_remembered_and_no_news(bans: Bans, told: BanRecords, clock: Clock) -> None:
    bans.put(NETWORK, Ban(str(NETWORK), clock.now - 60.0, clock.now - 1.0, 3, "failed logins"), "another replica")
    bans.sweep()
    assert (told.banned_networks, told.unbanned_networks) == ([], [])
    assert bans.punish(NETWORK, 60.0, "failed logins").count == 4


def test_every_change_is_noticed(bans: Bans, clock: Clock) -> None:
    """What isn't saved comes back, or is lost, at the next start."""
    changes = []
    bans.changed = lambda: changes.append(encode(bans.snapshot()))
    bans.punish(NETWORK, 60.0, "failed logins")
    bans.add(parse_network("2001:db8::/32")[0], 60.0, "spam")
    bans.lift(parse_network("2001:db8::/32")[0], "admin")
    clock.now += 61.0
    assert not bans.lift(NETWORK, "admin")  # it had ended, but would have made the next one longer
    assert len(changes) == 4
    assert msgspec.json.decode(changes[-1]) == []


def test_to_count_in_another_thread_is_safe(bans: Bans) -> None:
    """Metrics are made in a thread of their own, while bans come and go here."""
    faults: list[BaseException] = []
    done = threading.Event()

    def count() -> None:
        try:
            while not done.is_set():
                len(bans)
        except RuntimeError as fault:
            faults.append(fault)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    counting = threading.Thread(target=count)
    counting.start()
    try:
        for number in range(3000):
            bans.punish(Network(4, number << 8, 24), HOUR, "failed logins")
    finally:
        done.set()
        counting.join()
        sys.setswitchinterval(before)
    assert not faults


# -- bounds ----------------------------------------------------------------------------------------------


def test_when_there_is_no_room_those_go_that_would_end_first(
    bans: Bans, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bans_module, "_MOST", 10)
    for number in range(25):
        clock.now += 1.0
        bans.punish(Network(4, number << 8, 24), HOUR - 100 * (number == 3), "failed logins")
        assert len(bans) <= 10
    assert "0.0.24.0/24" in _networks(bans)
    assert bans.find(parse_client("0.0.24.1"))
    assert not bans.find(parse_client("0.0.3.1"))
    assert not bans.find(parse_client("0.0.0.1"))


def test_one_more_of_many_bans_is_cheap(bans: Bans) -> None:
    """A flood that is banned network by network must not stop the loop for each of them."""
    networks = [Network(6, (0x2001_0DB8 << 96) + (number << 64), 64) for number in range(20_000)]
    began = time.process_time()
    for network in networks:
        bans.punish(network, HOUR, "failed logins")
    assert time.process_time() - began < 10.0  # by the square it is a minute


def _many(bans: Bans, count: int = 60_000) -> None:
    for number in range(count):
        bans.add(Network(6, (0x2001_0DB8 << 96) + (number << 64), 64), HOUR + number, "spam")


def test_one_end_among_many_bans_is_cheap(bans: Bans, told: BanRecords, clock: Clock) -> None:
    """To look at each of them takes 50 ms, each second."""
    _many(bans)
    began = time.thread_time()
    for _ in range(100):
        clock.now += 1.0
        bans.add(NETWORK, 0.5, "spam")
        clock.now += 0.6
        bans.sweep()
    assert time.thread_time() - began < 0.1
    assert len(told.unbanned_networks) == 100


def test_many_changes_of_one_ban_take_no_room(bans: Bans) -> None:
    """Each would leave an end behind: a ban that is lifted and made again for a year, all of them for a year."""
    for _ in range(5_000):
        bans.add(NETWORK, 365 * DAY, "spam")
        bans.lift(NETWORK, "admin")
    assert len(bans._ends) < 2_000


# -- dumps -----------------------------------------------------------------------------------------------


def test_a_dump_carries_everything_over(bans: Bans, clock: Clock) -> None:
    first = bans.punish(NETWORK, 60.0, "failed logins")
    second = bans.add(parse_network("2001:db8::/32")[0], HOUR, 'spam "and" more\n')
    clock.now = first.until + 1
    told = BanRecords()
    other = Bans(told, clock)
    other.add(parse_network("198.51.100.0/24")[0], HOUR, "what was here")
    changes: list[bool] = []
    other.changed = lambda: changes.append(True)
    other.load(encode(bans.snapshot()))
    assert list(other.active()) == [second]
    assert other.find(parse_client("2001:db8::1")) == second
    assert other.find(parse_client("198.51.100.1")) is None
    assert other.find(CLIENT) is None
    assert not changes
    other.sweep()
    assert not told.unbanned_networks  # what ended while nobody was here is no news
    assert other.punish(NETWORK, 60.0, "failed logins").count == 2
    clock.now = second.until
    other.sweep()
    assert told.unbanned_networks == [("192.0.2.0/24", "time"), ("2001:db8::/32", "time")]


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1_700])
def test_a_dump_has_each_ban_once(bans: Bans, clock: Clock, count: int) -> None:
    """It is made in pieces."""
    _many(bans, count)
    other = Bans(BanRecords(), clock)
    other.load(encode(bans.snapshot()))
    assert other.snapshot() == bans.snapshot()
    assert len(other) == count


async def test_a_dump_of_many_bans_leaves_the_interpreter_to_others(bans: Bans) -> None:
    """Each second, when there are bans, the loop would stand still for as long as the whole takes."""
    _many(bans)
    pauses: list[float] = []
    done = trio.Event()

    async def dump() -> None:
        await trio.to_thread.run_sync(encode, bans.snapshot())
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dump)
        while not done.is_set():
            began = time.perf_counter()
            await trio.sleep(0.001)
            pauses.append(time.perf_counter() - began)
    assert len(pauses) > 5  # of one piece it is one or two


GARBAGE = {
    "empty": b"",
    "null": b"null",
    "half": b'[{"network":"192.0.2.0/24","since":1.0,"unt',
    "other": b'{"bans":[]}',
    "not UTF-8": b'[{"network":"192.0.2.0/24","since":1,"until":2,"count":1,"reason":"\xff"}]',
    "no network": b'[{"network":"mail.example.org","since":1,"until":2,"count":1,"reason":""}]',
    "no ban": b'[{"network":"192.0.2.0/24","since":1,"until":2,"count":0,"reason":""}]',
    "too large": b'[{"network":"192.0.2.0/24","since":1,"until":1e999,"count":1,"reason":""}]',
    "deep": b'[{"x":' + b"[" * 100_000,
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_a_value_error_and_changes_nothing(bans: Bans, kind: str) -> None:
    ban = bans.add(NETWORK, HOUR, "")
    with pytest.raises(ValueError):
        bans.load(GARBAGE[kind])
    assert bans.find(CLIENT) == ban


@settings(deadline=None)
@given(dumped=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_octets_are_read_or_refused(dumped: bytes) -> None:
    bans = Bans(BanRecords(), Clock())
    try:
        bans.load(dumped)
    except ValueError:
        return
    assert len(bans) == 0


def test_bans_are_values() -> None:
    with pytest.raises(AttributeError):
        Ban("192.0.2.0/24", 0.0, 1.0, 1, "").until = 2.0  # type: ignore[misc]
