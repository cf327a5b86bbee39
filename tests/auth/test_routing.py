"""Who is led where: a user in another pool than his own finds no mail, or is refused."""

from __future__ import annotations

import time

import pytest

from tlsgate.auth.routing import Routes
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
