"""From a user's name to the pool that holds its mail."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from tlsgate.auth.followed import Followed
from tlsgate.auth.user_map import Place, UserMap
from tlsgate.config import Protocol, Route


class Routes:
    """``[[routes]]`` in their order."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes = tuple((_pattern(each.match), each.protocol, each.pool) for each in routes)

    def pool(self, user: str, protocol: Protocol) -> str | None:
        """The pool of the first route that fits; None where none does: the listener's is right then."""
        for pattern, only, pool in self._routes:
            if only in (None, protocol) and pattern.fullmatch(user):
                return pool
        return None


_ITS_OWN = Place()


class Routing:
    """The user map, if there is one, then the routes for those of whom it names no pool."""

    def __init__(self, routes: Routes, users: Followed[UserMap] | None = None) -> None:
        self._routes = routes
        self._users = users

    async def place(self, user: str, protocol: Protocol) -> Place:
        """Where this user's mail is. Asked twice, it may say two things: a session stays where it began."""
        place = _ITS_OWN if self._users is None else (await self._users.now()).place(user, protocol)
        if place.pool is not None or (pool := self._routes.pool(user, protocol)) is None:
            return place
        return replace(place, pool=pool)


def _pattern(match: str) -> re.Pattern[str]:
    """Of "*" for any text and "?" for any character; every other character is itself, ASCII letters in either case."""
    first, *others = (".".join(map(re.escape, piece.split("?"))) for piece in match.split("*"))
    text = first
    if others:
        *between, last = others
        # The first place that fits is never taken back: a name of many near misses costs no more than another.
        text += "".join(f"(?>.*?{piece})" for piece in between) + f".*{last}"
    return re.compile(text, re.ASCII | re.IGNORECASE | re.DOTALL)
