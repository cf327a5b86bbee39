"""Pages of sessions, of one process and of several: each session on one page, and none left out."""

from __future__ import annotations

import random

import msgspec
import pytest

from tlsgate.ops.session_view import MOST, LiveSession, Page, Wanted, chosen, merged, short


def session(number: str, octets: int = 0) -> LiveSession:
    return LiveSession(
        number, "imaps", "192.0.2.1", 1, "relay", 1.0, "ann", "PLAIN", "b:143", "TLSv1.3", "x", octets, 0
    )


def page_of(found: list[LiveSession], wanted: Wanted) -> Page:
    """What one process answers."""
    page, following = chosen(found, wanted, lambda each: (each.id, each.bytes_in))
    return Page(page, len(found), following)


@pytest.mark.parametrize("limit", [1, 2, 7, 50, MOST])
@pytest.mark.parametrize("processes", [1, 3])
def test_all_pages_together_have_each_session_once(limit: int, processes: int) -> None:
    chance = random.Random(limit)
    ids = [[f"a{process}x{number:x}" for number in range(1, 40)] for process in range(processes)]
    for each in ids:
        chance.shuffle(each)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        wanted = Wanted(after=after, limit=limit)
        page = merged([page_of([session(name) for name in each], wanted) for each in ids], wanted, 0)
        assert page.total == 39 * processes
        assert len(page.sessions) <= limit
        seen += [each.id for each in page.sessions]
        after = page.next
    assert len(seen) == len(set(seen)) == 39 * processes


def test_who_comes_between_two_pages_hides_nobody() -> None:
    """The 16th session of a process has a longer id than those before it."""
    first = page_of([session(f"a{number:x}") for number in range(8, 16)], Wanted(limit=8))
    second = page_of([session(f"a{number:x}") for number in range(8, 18)], Wanted(limit=8, after=first.sessions[-1].id))
    assert [each.id for each in second.sessions] == ["a10", "a11"]


def test_the_busiest_of_all_processes_come_first() -> None:
    wanted = Wanted(busiest=True, limit=3)
    one = page_of([session(f"a{n}", n * 10) for n in range(5)], wanted)
    other = page_of([session(f"b{n}", n * 10 + 5) for n in range(5)], wanted)
    page = merged([one, other], wanted, 0)
    assert [each.bytes_in for each in page.sessions] == [45, 40, 35]
    assert (page.total, page.next) == (10, None)


def test_what_a_client_has_chosen_is_short_and_can_be_encoded() -> None:
    """A page that doesn't fit a packet, or can't be encoded, would end a worker."""
    for text in ("x" * 10_000, "\ud800" * 200, "\U0001f4a3" * 500):
        told = short(text)
        assert told is not None
        assert len(msgspec.json.encode(told)) <= 402
    assert short(None) is None
    assert short("ann") == "ann"
