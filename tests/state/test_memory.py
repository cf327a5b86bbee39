"""The store of one process: counted exactly, bounded, and forgetful in the right order."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.admission.clock import Clock
from tlsgate.state import memory
from tlsgate.state.memory import Memory
from tlsgate.state.store import Place


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Memory:
    return Memory(clock)


# -- places ----------------------------------------------------------------------------------------------


def test_all_places_or_none(store: Memory) -> None:
    """A place that a refused client keeps is lost until the next restart."""
    assert store.enter_now((Place("total", 2), Place("net", 1))) is None
    full = Place("net", 1)
    assert store.enter_now((Place("total", 2), full)) is full
    assert (store.used("total"), store.used("net")) == (1, 1)
    store.leave(("total", "net"))
    assert store.empty
    assert store.used("net") == 0


def test_a_limit_that_was_lowered_holds_for_those_to_come(store: Memory) -> None:
    for _ in range(3):
        assert store.enter_now((Place("total", 3),)) is None
    store.leave(("total",))
    assert store.enter_now((Place("total", 2),)) == Place("total", 2)
    store.leave(("total",))
    assert store.enter_now((Place("total", 2),)) is None


# -- rates -----------------------------------------------------------------------------------------------


def test_a_rate_holds_for_every_stretch_of_its_seconds(store: Memory, clock: Clock) -> None:
    """Not for calendar minutes: at their border a client would have twice its rate."""
    taken = []
    for _ in range(600):
        if store.spend_now("net", 5, 60.0):
            taken.append(clock.now)
        clock.now += 1.0
    assert all(later - first >= 60.0 for first, later in zip(taken, taken[5:], strict=False))
    assert len(taken) == 50  # and not less: what was refused counts against nobody


def test_an_amount_is_spent_as_a_whole(store: Memory) -> None:
    assert store.spend_now("user", 5, 60.0, 4)
    assert not store.spend_now("user", 5, 60.0, 2)
    assert store.spend_now("user", 5, 60.0)


def test_a_rate_goes_on_when_a_reload_changes_it(store: Memory) -> None:
    """Else each reload gives everybody their whole rate again."""
    for _ in range(5):
        assert store.spend_now("net", 5, 60.0)
    assert not store.spend_now("net", 5, 120.0)


# -- records ---------------------------------------------------------------------------------------------


async def test_a_record_is_swapped_only_for_what_is_there(store: Memory, clock: Clock) -> None:
    assert await store.swap("key", None, b"1", 10.0)
    assert not await store.swap("key", None, b"2", 10.0)
    assert not await store.swap("key", b"0", b"2", 10.0)
    assert await store.read("key") == b"1"
    clock.now += 10.0
    assert await store.read("key") is None
    assert not await store.swap("key", b"1", b"2", 10.0)
    assert await store.swap("key", None, b"2", 10.0)
    assert await store.swap("key", b"2", None, 0.0)
    assert await store.read("key") is None


# -- bounds ----------------------------------------------------------------------------------------------


async def test_what_was_written_longest_ago_goes_first(store: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_RECORDS", 10)
    store = Memory(Clock())
    for number in range(11):
        await store.swap(str(number), None, b"x", 60.0)
        await store.swap("0", await store.read("0"), b"y", 60.0)
    kept = [number for number in range(11) if await store.read(str(number)) is not None]
    assert 0 in kept
    assert 10 in kept
    assert 1 not in kept
    assert 8 <= len(kept) <= 10


async def test_a_flood_of_failures_pushes_out_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers who fail a million times could slow down everybody who was known before."""
    monkeypatch.setattr(memory, "_RECORDS", 10)
    store = Memory(Clock())
    await store.swap("known", None, b"today", 86_400.0)
    for number in range(100):
        await store.swap(f"failures {number}", None, b"x", 600.0)
    assert await store.read("known") == b"today"


def test_a_flood_of_clients_makes_it_forget_not_grow(monkeypatch: pytest.MonkeyPatch, traced: None) -> None:
    monkeypatch.setattr(memory, "_RATES", 1000)
    store = Memory(Clock())
    grown = []
    for first in range(0, 6000, 1000):
        before = tracemalloc.get_traced_memory()[0]
        for number in range(first, first + 1000):
            assert store.spend_now(f"net {number}", 1, 60.0)
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    assert sum(grown[1:]) < grown[0] / 4
    assert not store.spend_now("net 5999", 1, 60.0)


@pytest.mark.parametrize("long_lived", [False, True])
async def test_a_table_that_was_large_shrinks_again(
    store: Memory, clock: Clock, traced: None, long_lived: bool
) -> None:
    """One old record that lives on must not keep all those that ended behind it."""
    if long_lived:
        await store.swap("known", None, b"today", 86_400.0)
    before = tracemalloc.get_traced_memory()[0]
    for number in range(4000):
        await store.swap(f"failures {number}", None, b"x", 600.0)
    largest = tracemalloc.get_traced_memory()[0] - before
    clock.now += 600.0
    for _ in range(3000):  # one key, time and again: each is new when it comes
        await store.swap("other", None, b"x", 600.0)
        await store.swap("other", b"x", None, 0.0)
    assert tracemalloc.get_traced_memory()[0] - before < largest / 4


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


# -- against a model -------------------------------------------------------------------------------------

keys = st.sampled_from("abc")
enters = st.tuples(st.just("enter"), st.dictionaries(keys, st.integers(1, 3), min_size=1))
leaves = st.tuples(st.just("leave"), st.integers(0, 9))
spends = st.tuples(st.just("spend"), keys, st.integers(1, 4), st.sampled_from((2.0, 5.0)), st.integers(1, 2))
swaps = st.tuples(
    st.just("swap"), keys, st.sampled_from((None, b"x", b"y")), st.booleans(), st.sampled_from((2.0, 5.0))
)
waits = st.tuples(st.just("wait"), st.sampled_from((1.0, 2.0, 3.5)))


class Model:
    """What a Memory without bounds does, in the plainest way: everything that was ever done is kept."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.inside: list[tuple[str, ...]] = []
        self.spent: list[tuple[str, float]] = []
        self.records: dict[str, tuple[bytes, float]] = {}

    def used(self, key: str) -> int:
        return sum(keys.count(key) for keys in self.inside)

    def enter(self, places: dict[str, int]) -> Place | None:
        for key, limit in places.items():
            if self.used(key) >= limit:
                return Place(key, limit)
        self.inside.append(tuple(places))
        return None

    def spend(self, key: str, count: int, seconds: float, amount: int) -> bool:
        lately = [each for each in self.spent if each[0] == key and each[1] > self.clock() - seconds]
        if len(lately) + amount > count:
            return False
        self.spent += [(key, self.clock())] * amount
        return True

    def read(self, key: str) -> bytes | None:
        value, until = self.records.get(key, (None, 0.0))
        return value if until > self.clock() else None

    def swap(self, key: str, old: bytes | None, new: bytes | None, seconds: float) -> bool:
        if self.read(key) != old:
            return False
        self.records.pop(key, None)
        if new is not None:
            self.records[key] = (new, self.clock() + seconds)
        return True


@settings(deadline=None)
@given(steps=st.lists(st.one_of(enters, leaves, spends, swaps, waits), max_size=60))
def test_it_does_what_a_plain_model_does(steps: list[tuple[Any, ...]]) -> None:
    trio.run(_play, steps)


async def _play(steps: list[tuple[Any, ...]]) -> None:
    clock = Clock()
    store, model = Memory(clock), Model(clock)
    lengths: dict[str, float] = {}  # a key has one length of time but for reloads
    for name, *values in steps:
        match name:
            case "enter":
                (places,) = values
                assert await store.enter(tuple(Place(*each) for each in places.items())) == model.enter(places)
            case "leave":
                if model.inside:
                    store.leave(model.inside.pop(values[0] % len(model.inside)))
            case "spend":
                key, count, seconds, amount = values
                seconds = lengths.setdefault(key, seconds)
                assert await store.spend(key, count, seconds, amount) == model.spend(key, count, seconds, amount)
            case "swap":
                key, new, fits, seconds = values
                old = model.read(key) if fits else b"else"
                assert await store.swap(key, old, new, seconds) == model.swap(key, old, new, seconds)
            case "wait":
                clock.now += values[0]
        for key in "abc":
            assert store.used(key) == model.used(key)
            assert await store.read(key) == model.read(key)
    assert store.empty == (not model.inside)
