"""What was found right is known for a while, for the very same login only, and never longer than it is right."""

from __future__ import annotations

import gc
from ipaddress import IPv4Address, IPv6Address

import pytest

from tlsgate.auth import success_cache
from tlsgate.auth.success_cache import SuccessCache
from tlsgate.config import Protocol
from tlsgate.dialogue.credentials import Credentials

ANN = Credentials("ann", b"secret")
CLIENT = IPv4Address("192.0.2.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> SuccessCache[str]:
    return SuccessCache(60.0, b"k" * 32, clock)


def test_the_very_same_login_is_known(cache: SuccessCache[str]) -> None:
    assert cache.get(ANN, Protocol.IMAP, CLIENT) is None
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", cache.generation)
    assert cache.get(Credentials("ann", b"secret"), Protocol.IMAP, IPv4Address("192.0.2.1")) == "right"


@pytest.mark.parametrize(
    ("shown", "protocol", "client"),
    [
        (Credentials("ann", b"Secret"), Protocol.IMAP, CLIENT),
        (Credentials("Ann", b"secret"), Protocol.IMAP, CLIENT),
        (Credentials("anns", b"ecret"), Protocol.IMAP, CLIENT),  # fields that run together
        (Credentials("ann", b"secret", "bob"), Protocol.IMAP, CLIENT),
        (Credentials("ann", b"secret", "ann"), Protocol.IMAP, CLIENT),
        (ANN, Protocol.POP3, CLIENT),
        (ANN, Protocol.IMAP, IPv4Address("192.0.2.2")),
        (ANN, Protocol.IMAP, IPv6Address("::ffff:192.0.2.1")),
    ],
)
def test_any_other_is_not(
    cache: SuccessCache[str], shown: Credentials, protocol: Protocol, client: IPv4Address | IPv6Address
) -> None:
    """It would get in without a check."""
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", cache.generation)
    assert cache.get(shown, protocol, client) is None


def test_fields_are_never_taken_for_each_other(cache: SuccessCache[str]) -> None:
    """The end of one field must not be the beginning of the next, whatever a client puts into them."""
    cache.put(Credentials("a", b"b\x01imap", "c"), Protocol.IMAP, CLIENT, "right", cache.generation)
    for user, authzid, secret in [("ac", "", b"b\x01imap"), ("a", "cb", b"\x01imap"), ("a", "c", b"b")]:
        assert cache.get(Credentials(user, secret, authzid), Protocol.IMAP, CLIENT) is None


def test_it_ends_with_its_time_and_looking_does_not_prolong_it(cache: SuccessCache[str], clock: Clock) -> None:
    """Else a client that logs in each minute keeps a password that was changed long ago."""
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", cache.generation)
    clock.now += 59.9
    assert cache.get(ANN, Protocol.IMAP, CLIENT) == "right"
    clock.now += 0.1
    assert cache.get(ANN, Protocol.IMAP, CLIENT) is None


def test_old_ones_make_room(cache: SuccessCache[str], clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(success_cache, "MOST_ENTRIES", 3)
    users = [Credentials(name, b"secret") for name in "abcd"]
    for each in users:
        cache.put(each, Protocol.IMAP, CLIENT, each.user, cache.generation)
        clock.now += 1
    assert [cache.get(each, Protocol.IMAP, CLIENT) for each in users] == [None, "b", "c", "d"]
    clock.now += 100
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", cache.generation)
    assert len(cache) == 1  # what has ended takes no memory until somebody asks for it


def test_a_new_check_makes_an_entry_new(
    cache: SuccessCache[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that kept its old place would hold up the end of those before it."""
    monkeypatch.setattr(success_cache, "MOST_ENTRIES", 2)
    bob, cay = Credentials("bob", b"x"), Credentials("cay", b"x")
    for each in (ANN, bob, ANN, cay):
        clock.now += 1
        cache.put(each, Protocol.IMAP, CLIENT, each.user, cache.generation)
    assert [cache.get(each, Protocol.IMAP, CLIENT) for each in (ANN, bob, cay)] == ["ann", None, "cay"]


def test_without_time_nothing_is_known(clock: Clock) -> None:
    cache: SuccessCache[str] = SuccessCache(0.0, b"k" * 32, clock)
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", cache.generation)
    assert cache.get(ANN, Protocol.IMAP, CLIENT) is None
    assert len(cache) == 0


def test_cleared_is_forgotten_and_a_check_under_way_brings_nothing_back(cache: SuccessCache[str]) -> None:
    """It went by the file that isn't in force any more."""
    began = cache.generation
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", began)
    cache.clear()
    assert cache.get(ANN, Protocol.IMAP, CLIENT) is None
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", began)
    assert cache.get(ANN, Protocol.IMAP, CLIENT) is None
    cache.put(ANN, Protocol.IMAP, CLIENT, "right", cache.generation)
    assert cache.get(ANN, Protocol.IMAP, CLIENT) == "right"


def test_other_keys_give_other_names(clock: Clock) -> None:
    """Were the key of no use, who reads the memory could try passwords without knowing it."""
    caches = [SuccessCache[str](60.0, key, clock) for key in (b"a" * 32, b"b" * 32)]
    for each in caches:
        each.put(ANN, Protocol.IMAP, CLIENT, "right", each.generation)
    assert not set(caches[0]._entries) & set(caches[1]._entries)


def test_no_secret_is_kept(cache: SuccessCache[str]) -> None:
    shown = Credentials("ann", bytes([104]) + b"unter2")
    cache.put(shown, Protocol.IMAP, CLIENT, "right", cache.generation)
    kept = [cache]
    seen: set[int] = set()
    while kept:
        each: object = kept.pop()
        if id(each) in seen or isinstance(each, type):
            continue
        seen.add(id(each))
        assert not isinstance(each, bytes) or shown.secret not in each
        if isinstance(each, SuccessCache | dict | tuple | list):
            kept.extend(gc.get_referents(each))
