"""Who is led where: a user in another pool than his own finds no mail, or is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio
import trio.testing

from tlsgate.auth.followed import POLL, Followed
from tlsgate.auth.routing import Routes, Routing
from tlsgate.auth.user_map import Place, UserMap, load
from tlsgate.config import Protocol, Route


def fits(match: str, user: str) -> bool:
    return Routes([Route(match=match, pool="net")]).pool(user, Protocol.IMAP) == "net"


@pytest.mark.parametrize(
    ("match", "right", "wrong"),
    [
        ("*@example.net", ["a@example.net", "@example.net", "A@EXAMPLE.Net"], ["a@example.net.", "a@examplexnet", "a"]),
        ("*", ["a", "a\u2603b", "a b"], []),
        ("ann", ["ann", "Ann"], ["anna", "xann", "an"]),
        ("a?n", ["ann", "a\u2603n"], ["an", "annn"]),
        ("a*b*c", ["abc", "aXbYc", "abbcc", "abcbc"], ["acb", "ab", "ac", "abcx"]),
        ("*a**b", ["ab", "xaxb", "abb"], ["ba", "abx"]),
        ("*.test@*", ["a.test@b", ".test@"], ["axtest@b", "a.test"]),
        # No classes, no escapes: names hold these.
        ("[ab]", ["[ab]", "[AB]"], ["a", "b"]),
        ("a\\*", ["a\\b"], ["a*"]),
        ("(a|b)+", ["(a|b)+"], ["a", "ab"]),
        ("a^$.", ["a^$."], ["a^$x"]),
        # Only ASCII has two cases: the long s and the Kelvin sign are other letters, and another user's.
        ("ks", ["KS"], ["\u212as", "k\u017f"]),
        ("\u00e4", ["\u00e4"], ["\u00c4"]),
    ],
)
def test_patterns(match: str, right: list[str], wrong: list[str]) -> None:
    assert [user for user in right if not fits(match, user)] == []
    assert [user for user in wrong if fits(match, user)] == []


def test_the_first_that_fits_wins() -> None:
    routes = Routes(
        [
            Route(match="ann@*", protocol=Protocol.POP3, pool="pop"),
            Route(match="ann@*", pool="anns"),
            Route(match="*@example.net", pool="net"),
        ]
    )
    found = {protocol: routes.pool("ann@example.net", protocol) for protocol in Protocol}
    assert (found[Protocol.POP3], found[Protocol.IMAP], found[Protocol.SUBMISSION]) == ("pop", "anns", "anns")
    assert routes.pool("bob@example.net", Protocol.POP3) == "net"
    assert routes.pool("bob@example.org", Protocol.POP3) is None


def test_a_name_of_near_misses_costs_no_more() -> None:
    """The name is the client's: one that makes a pattern try every way to fit would stop every session."""
    routes = Routes([Route(match="*a" * 100 + "*b", pool="net")])
    began = time.perf_counter()
    assert routes.pool("a" * 512, Protocol.IMAP) is None
    assert time.perf_counter() - began < 1  # with backtracking: longer than anybody waits


NET = Routes([Route(match="*@example.net", protocol=Protocol.IMAP, pool="net")])


class Mapped:
    """A user map that is followed, before the routes of NET, and what was told of it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.told: list[UserMap | str] = []
        path.write_text(text)
        self.routing = Routing(NET, Followed(path, self.load(path), self.load, self.told.append))

    @staticmethod
    def load(path: Path) -> UserMap:
        return load(path, {each: dict.fromkeys(("one", "two")) for each in Protocol})

    def replace(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)

    async def place(self, user: str, protocol: Protocol = Protocol.IMAP) -> Place:
        return await self.routing.place(user, protocol)


async def test_without_a_map_routes_decide() -> None:
    assert await Routing(NET).place("ann@example.net", Protocol.IMAP) == Place("net")
    assert await Routing(NET).place("ann@example.net", Protocol.POP3) == Place()


async def test_the_map_comes_before_routes(tmp_path: Path) -> None:
    """Routes are for those of whom it says nothing, or nothing for this protocol."""
    mapped = Mapped(tmp_path / "map", "ann@example.net imap=one as=a\nbob@example.net pop3=one as=b\n")
    assert await mapped.place("ann@example.net") == Place("one", "a")
    assert await mapped.place("bob@example.net") == Place("net", "b")
    assert await mapped.place("bob@example.net", Protocol.POP3) == Place("one", "b")
    assert await mapped.place("bob@example.net", Protocol.SUBMISSION) == Place(None, "b")
    assert await mapped.place("cay@example.net") == Place("net")


async def test_a_changed_map_is_followed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    mapped = Mapped(tmp_path / "map", "ann imap=one\n")
    mapped.replace("ann imap=two\nbob imap=three\n")
    await trio.sleep(POLL)
    assert await mapped.place("ann") == Place("two")
    (told,) = mapped.told
    assert isinstance(told, UserMap)
    assert [each.line for each in told.remarks()] == [2]


async def test_a_map_that_is_gone_stays_in_force(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Else everybody would be led to the listener's pool, where their mail isn't."""
    mapped = Mapped(tmp_path / "map", "ann imap=one\n")
    mapped.path.unlink()
    for _ in range(2):
        await trio.sleep(POLL)
        assert await mapped.place("ann") == Place("one")
    assert mapped.told == ["No such file or directory"]
