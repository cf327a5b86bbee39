"""What failed logins lead to: for whom an attempt waits, who is banned and who never is."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.admission.clock import Clock
from tests.gate import BanRecords
from tlsgate import config
from tlsgate.admission import failures
from tlsgate.admission.bans import Bans
from tlsgate.admission.network import NetworkLengths, parse_client
from tlsgate.admission.penalties import StoredPenalties
from tlsgate.state.memory import Memory

HOME, STRANGER, NEIGHBOUR = map(parse_client, ("192.0.2.7", "198.51.100.1", "192.0.2.8"))
HOUR = 3600.0
DEFAULTS = config.Bans()


class Peeked(Memory):
    """A store that shows all that was ever put into it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.seen: list[tuple[str, bytes | None]] = []

    async def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        self.seen.append((key, new))
        return await super().swap(key, old, new, seconds)


class Distant(Memory):
    """A store whose answers take a while, as one behind a network: others come between a read and its swap."""

    async def read(self, key: str) -> bytes | None:
        await trio.sleep(0.01)
        return await super().read(key)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        await trio.sleep(0.01)
        return await super().swap(key, old, new, seconds)


class Court:
    """Penalties and what is around them, on one clock."""

    def __init__(self, bans: config.Bans = DEFAULTS, lengths: NetworkLengths | None = None) -> None:
        self.clock = Clock()
        self.told = BanRecords()
        self.store = Peeked(self.clock)
        self.bans = Bans(self.told, self.clock)
        self.penalties = StoredPenalties(
            bans, lengths or NetworkLengths(32, 64), self.store, self.bans, lambda: b"key", self.clock
        )
        self._secrets = 0

    async def guess(self, address: str, user: str = "ann", times: int = 1) -> None:
        """Wrong passwords, each another one."""
        for _ in range(times):
            self._secrets += 1
            await self.penalties.failed(parse_client(address), user, b"guess %d" % self._secrets)

    async def delay(self, address: str, user: str = "ann") -> float | None:
        """How long an attempt waits; one that doesn't is over at once."""
        delay = await self.penalties.before_login(parse_client(address), user)
        if delay == 0.0:
            self.penalties.ended(parse_client(address))
        return delay

    async def delays_of_guesses(self, address: str, user: str, times: int) -> list[float | None]:
        """What each of them waits for."""
        delays = []
        for _ in range(times):
            delays.append(await self.delay(address, user))
            await self.guess(address, user)
        return delays

    @property
    def banned(self) -> list[str]:
        return [ban.network for ban in self.told.banned_networks]


@pytest.fixture
def court() -> Court:
    return Court()


# -- of a network ----------------------------------------------------------------------------------------


async def test_guesses_of_a_network_wait_longer_and_longer_and_end_in_a_ban(court: Court) -> None:
    delays = [await court.delay("192.0.2.7", f"user {number}") for number in range(1)]
    for number in range(9):
        await court.guess("192.0.2.7", f"user {number}")
        delays.append(await court.delay("192.0.2.7", f"user {number + 1}"))
    assert delays == [0, 1, 2, 4, 8, 15, 15, 15, 15, 15]
    assert not court.banned
    await court.guess("192.0.2.7", "the tenth")
    assert court.banned == ["192.0.2.7/32"]
    (ban,) = court.told.banned_networks
    assert (ban.until - ban.since, ban.count) == (HOUR, 1)
    assert await court.delay("192.0.2.7") is None
    assert await court.delay("192.0.2.8") == 0


async def test_a_network_is_as_long_as_the_limits_say() -> None:
    court = Court(lengths=NetworkLengths(24, 56))
    for number in range(10):
        await court.guess(f"192.0.2.{number}", f"user {number}")
        await court.guess(f"2001:db8:0:{number:x}::1", f"user {number}")
    assert sorted(court.banned) == ["192.0.2.0/24", "2001:db8::/56"]
    assert await court.delay("192.0.2.200") is None
    assert await court.delay("2001:db8:0:ff::1") is None
    assert await court.delay("2001:db8:0:100::1") == 0


async def test_an_ipv4_client_mapped_into_ipv6_is_the_ipv4_client(court: Court) -> None:
    """Else each of the two has a count of its own (cases.md E5)."""
    await court.guess("::ffff:192.0.2.7", times=5)
    await court.guess("192.0.2.7", times=5)
    assert court.banned == ["192.0.2.7/32"]


async def test_failures_outside_of_the_window_are_forgotten(court: Court) -> None:
    for number in range(40):
        await court.guess("192.0.2.7", f"user {number}")
        court.clock.now += 67.0  # nine in any ten minutes
    assert not court.banned
    court.clock.now += 600.0
    assert await court.delay("192.0.2.7", "ann") == 0


async def test_after_a_ban_counting_begins_anew_and_the_next_ban_is_longer(court: Court) -> None:
    """Who comes back with the old failures still counted would be banned for the first mistyped password."""
    await court.guess("192.0.2.7", times=10)
    court.clock.now += HOUR
    await court.guess("192.0.2.7", times=9)
    assert len(court.banned) == 1
    await court.guess("192.0.2.7")
    assert [ban.until - ban.since for ban in court.told.banned_networks] == [HOUR, 2 * HOUR]


async def test_what_was_under_way_when_the_ban_came_does_not_make_it_longer(court: Court) -> None:
    """Fifty connections that guess at once have earned one ban, not five of which the last is a day."""
    await court.guess("192.0.2.7", times=50)
    assert len(court.banned) == 1
    court.clock.now += HOUR
    assert await court.delay("192.0.2.7", "somebody else") == 0


async def test_a_lower_limit_counts_what_has_failed_already(court: Court) -> None:
    await court.guess("192.0.2.7", times=5)
    court.penalties.settings = config.Bans(failures=3)
    assert not court.banned
    await court.guess("192.0.2.7")
    assert court.banned == ["192.0.2.7/32"]


async def test_one_failure_may_be_all_that_is_allowed() -> None:
    court = Court(config.Bans(failures=1, user_failures=1))
    await court.guess("192.0.2.7")
    assert court.banned == ["192.0.2.7/32"]
    assert await court.delay("198.51.100.1") == 1


# -- of a user name --------------------------------------------------------------------------------------


async def test_a_user_name_that_many_guess_at_is_slowed_and_never_banned(court: Court) -> None:
    """A botnet has a network for each guess; a lock-out would be its way to shut the owner out."""
    delays = []
    for number in range(40):
        delays.append(await court.delay(f"198.51.100.{number}", "ann"))
        await court.guess(f"198.51.100.{number}", "ann")
    assert delays == [0] * 30 + [1, 2, 4, 8, 15, 15, 15, 15, 15, 15]
    assert not court.banned
    assert await court.delay("192.0.2.7", "bob") == 0


async def test_the_owner_is_not_slowed_where_they_have_logged_in_lately(court: Court) -> None:
    await court.penalties.logged_in(HOME, "ann")
    for number in range(40):
        await court.guess(f"198.51.100.{number}", "ann")
    assert await court.delay("192.0.2.7", "ann") == 0
    assert await court.delay("203.0.113.1", "ann") == 15
    assert await court.delay("192.0.2.7", "Ann") == 0


async def test_a_network_is_known_for_its_own_user_alone(court: Court) -> None:
    """One account of one's own must be no way to guess at others'."""
    await court.penalties.logged_in(HOME, "mallory")
    await court.guess("192.0.2.7", "ann", 5)
    assert await court.delay("192.0.2.7", "ann") == 15
    await court.guess("192.0.2.7", "ann", 5)
    assert court.banned == ["192.0.2.7/32"]
    assert await court.delay("192.0.2.7", "mallory") is None


async def test_a_known_user_who_guesses_is_banned_all_the_same(court: Court) -> None:
    await court.penalties.logged_in(HOME, "ann")
    await court.guess("192.0.2.7", "ann", 10)
    assert court.banned == ["192.0.2.7/32"]


@pytest.mark.parametrize(("days", "delay"), [(29, 0), (31, 15)])
async def test_lately_is_a_month(court: Court, days: int, delay: float) -> None:
    await court.penalties.logged_in(HOME, "ann")
    court.clock.now += days * 86_400.0
    for number in range(40):
        await court.guess(f"198.51.100.{number}", "ann")
    assert await court.delay("192.0.2.7", "ann") == delay


async def test_who_logs_in_each_day_stays_known(court: Court) -> None:
    for _ in range(100):
        await court.penalties.logged_in(HOME, "ann")
        court.clock.now += 86_400.0
    for number in range(40):
        await court.guess(f"198.51.100.{number}", "ann")
    assert await court.delay("192.0.2.7", "ann") == 0


async def test_to_log_in_all_day_writes_little(court: Court) -> None:
    """With shared state each write goes over the network."""
    for _ in range(1000):
        await court.penalties.logged_in(HOME, "ann")
    assert len(court.store.seen) == 1


async def test_names_that_differ_by_case_alone_are_one(court: Court) -> None:
    """Most backends take them for one: each spelling would have guesses of its own."""
    for number in range(40):
        await court.guess(f"198.51.100.{number}", "ANN" if number % 2 else "ann")
    assert await court.delay("203.0.113.1", "Ann") == 15


# -- what counts -----------------------------------------------------------------------------------------


async def test_the_same_wrong_password_counts_once(court: Court) -> None:
    """A phone with the old password asks for hours: it guesses nothing, and its whole network would be banned."""
    for _ in range(100):
        await court.penalties.failed(HOME, "ann", b"the old one")
        court.clock.now += 1.0
    assert not court.banned
    assert await court.delay("192.0.2.7") == 1


async def test_one_password_for_many_users_counts_for_each(court: Court) -> None:
    for number in range(10):
        await court.penalties.failed(HOME, f"user {number}", b"123456")
    assert court.banned == ["192.0.2.7/32"]


async def test_name_and_secret_do_not_run_together(court: Court) -> None:
    await court.penalties.failed(HOME, "ann", b"aopen")
    await court.penalties.failed(HOME, "anna", b"open")
    assert await court.delay("192.0.2.7") == 2


async def test_failures_without_a_name_count_too(court: Court) -> None:
    for number in range(10):
        await court.penalties.failed(HOME, None, b"%d" % number)
    assert court.banned == ["192.0.2.7/32"]


async def test_a_failures_hash_fits_too_many_passwords_to_tell_one(court: Court) -> None:
    """Who has the records has the key too, where replicas share them: a word list must not give back what was typed."""
    await court.penalties.failed(HOME, "ann", b"Summer2025!")
    (record,) = {new for key, new in court.store.seen if key.startswith("failures of 1") and new}
    (failure,) = failures.decode(record)
    assert len(failure.what) == 2


async def test_logins_do_not_count(court: Court) -> None:
    for number in range(1000):
        await court.penalties.logged_in(HOME, f"user {number}")
    assert await court.delay("192.0.2.7", "somebody") == 0
    assert not court.banned


# -- what is kept ----------------------------------------------------------------------------------------


async def test_no_secret_and_no_name_is_kept(court: Court) -> None:
    """Whoever reads the store, or a dump of our memory, must not find what users mistype: it is nearly right."""
    name, secret = "ann@example.org", b"open, Sesame 7"
    await court.penalties.failed(HOME, name, secret)
    await court.penalties.failed(HOME, name, b"\0cleartext LOGIN")
    await court.penalties.logged_in(HOME, name)
    assert len(court.store.seen) >= 5
    kept = repr(court.store.seen).lower()
    for shown in (name, secret.decode(), secret.hex(), name.encode().hex()):
        assert shown.lower() not in kept


async def test_without_the_key_no_guess_can_be_checked() -> None:
    """A plain hash of a mistyped password is found within seconds."""
    kept = []
    for key in (b"key", b"other"):
        court = Court()
        court.penalties = StoredPenalties(
            DEFAULTS, NetworkLengths(32, 64), court.store, court.bans, partial(bytes, key), court.clock
        )
        await court.penalties.failed(HOME, "ann", b"open, Sesame 7")
        kept.append({new for _, new in court.store.seen})
    assert not kept[0] & kept[1]


async def test_records_stay_small_whatever_is_shown() -> None:
    court = Court(config.Bans(failures=10_000_000, user_failures=10_000_000))
    for number in range(1500):
        await court.penalties.failed(HOME, "u" * 512, b"%d" % number * 1000)
    assert max(len(new or b"") for _, new in court.store.seen) < 32_768
    assert max(len(key) for key, _ in court.store.seen) < 100


# -- whatever happens ------------------------------------------------------------------------------------

attempts = st.tuples(
    st.sampled_from(("192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8::2")),
    st.sampled_from(("ann", "bob")),
    st.sampled_from((b"a", b"b", b"c", b"d", None)),
    st.sampled_from((0.0, 0.0, 1.0, 30.0, 100.0)),
)


@settings(deadline=None)
@given(steps=st.lists(attempts, max_size=80), least=st.integers(1, 5))
def test_nobody_is_banned_for_less_than_so_many_distinct_failures(
    steps: list[tuple[str, str, bytes | None, float]], least: int
) -> None:
    async def play() -> None:
        lengths = NetworkLengths(32, 64)
        court = Court(config.Bans(failures=least, window=100.0, duration=50.0), lengths)
        failed: dict[str, list[tuple[float, tuple[str, bytes | None, int]]]] = {}
        for number, (address, user, secret, pause) in enumerate(steps):
            network = str(lengths.network(parse_client(address)))
            before = len(court.banned)
            delay = await court.delay(address, user)
            assert (delay is None) == (court.bans.find(parse_client(address)) is not None)
            if delay is not None:
                assert 0 <= delay <= 15
                what = (user, secret, number if secret is None else 0)
                failed.setdefault(network, []).append((court.clock.now, what))
                await court.penalties.failed(parse_client(address), user, secret or b"%d" % number)
            if len(court.banned) > before:
                assert court.banned[before:] == [network]
                lately = {what for when, what in failed[network] if when > court.clock.now - 100.0}
                assert len(lately) >= least
                failed[network] = []
            court.clock.now += pause

    trio.run(play)


# -- several at once, over a store that is far away ------------------------------------------------------


def replicas(count: int, bans: config.Bans) -> tuple[list[StoredPenalties], list[Bans]]:
    """Penalties of several replicas over one store, each with its own bans."""
    store, banned = Distant(trio.current_time), [Bans(BanRecords(), trio.current_time) for _ in range(count)]
    lengths = NetworkLengths(32, 64)
    all_of = [StoredPenalties(bans, lengths, store, each, lambda: b"key", trio.current_time) for each in banned]
    return all_of, banned


async def guess_at_once(penalties: list[StoredPenalties], times: int, user: str | None = "ann") -> None:
    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(penalties[number % len(penalties)].failed, HOME, user, b"guess %d" % number)


async def test_no_failure_of_many_at_once_is_lost(autojump_clock: MockClock) -> None:
    """Else a client that guesses on all its connections at once has guesses for nothing."""
    (one,), (bans,) = replicas(1, config.Bans(failures=60))
    await guess_at_once([one], 59)
    assert bans.find(HOME) is None
    await one.failed(HOME, "ann", b"the last")
    assert bans.find(HOME) is not None


async def test_many_failures_at_once_are_one_ban(autojump_clock: MockClock) -> None:
    """What was under way when the ban came would else double it, again and again."""
    (one,), (bans,) = replicas(1, config.Bans(failures=3))
    await guess_at_once([one], 12, None)
    (ban,) = bans.active()
    assert (ban.count, ban.until - ban.since) == (1, HOUR)


async def test_one_of_two_replicas_bans_for_failures_at_both(autojump_clock: MockClock) -> None:
    """If both did, the ban would be the second one, and twice as long."""
    both, (first, second) = replicas(2, config.Bans(failures=10))
    await guess_at_once(both, 10)
    (ban,) = [*first.active(), *second.active()]
    assert ban.count == 1


async def test_a_record_that_makes_no_sense_hinders_nobody(court: Court) -> None:
    """Else whoever writes one into the shared state shuts a network out (cases.md E6)."""
    await court.store.swap("failures of 192.0.2.7/32", None, b"garbage", HOUR)
    assert await court.delay("192.0.2.7") == 0
    await court.guess("192.0.2.7", times=2)
    assert await court.delay("192.0.2.7") == 2


async def _most_at_once(penalties: list[StoredPenalties], guesses: int) -> int:
    """How many of so many attempts for ann, all begun at once and each wrong, are ever under way."""
    under_way = most = 0

    async def guess(number: int) -> None:
        nonlocal under_way, most
        each = penalties[number % len(penalties)]
        if await each.before_login(HOME, "ann", waited=True) is None:
            return
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(1)
        under_way -= 1
        await each.failed(HOME, "ann", b"guess %d" % number)
        each.ended(HOME)

    async with trio.open_nursery() as nursery:
        for number in range(guesses):
            nursery.start_soon(guess, number)
    return most


@pytest.mark.parametrize("known", [False, True])
async def test_guesses_at_once_are_no_more_than_failures_are_left(autojump_clock: MockClock, known: bool) -> None:
    """A stolen phone is known in its network: it must not try a password on each connection that a network may have.

    The store is far away: what was under way before it has answered isn't what is under way then.
    """
    (one,), (bans,) = replicas(1, config.Bans(failures=5))
    if known:
        await one.logged_in(HOME, "ann")
    assert await _most_at_once([one], 40) == 5
    assert bans.find(HOME) is not None


async def test_who_is_known_still_waits_for_no_failure(autojump_clock: MockClock) -> None:
    """Another one's wrong passwords behind the same address: the turn is taken at once, if nobody has it."""
    (one,), _ = replicas(1, config.Bans(failures=10))
    await one.logged_in(HOME, "ann")
    await guess_at_once([one], 9, "bob")
    began = trio.current_time()
    for _ in range(3):
        assert await one.before_login(HOME, "ann") == 0
        one.ended(HOME)
    assert trio.current_time() - began == 0


async def test_those_who_wait_hear_of_a_ban_at_once(autojump_clock: MockClock) -> None:
    """A guesser would keep all its connections for a quarter of a minute more, one after the other."""
    (one,), (bans,) = replicas(1, config.Bans(failures=1))
    told: list[float | None] = []

    async def wait() -> None:
        told.append(await one.before_login(HOME, "ann", waited=True))

    assert await one.before_login(HOME, "ann") == 0
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await trio.sleep(1)
        await one.failed(HOME, "ann", b"guess")
        assert bans.find(HOME) is not None
        began = trio.current_time()
        one.ended(HOME)
    assert told == [None] * 3
    assert trio.current_time() - began < 1


async def test_an_attempt_that_began_before_networks_were_cut_otherwise_is_over_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """A reload with another ipv4_prefix would leave it under way for ever: each later one would wait for it."""
    (one,), _ = replicas(1, config.Bans(failures=1))
    assert await one.before_login(HOME, "ann") == 0
    one.lengths = NetworkLengths(24, 64)
    one.ended(HOME)
    one.lengths = NetworkLengths(32, 64)
    began = trio.current_time()
    assert await one.before_login(HOME, "ann") == 0
    assert trio.current_time() - began < 1
