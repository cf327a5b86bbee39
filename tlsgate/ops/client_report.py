"""Which users still come in ways that RFC 8314 and 8996 want to be gone, and from where: who has to be talked to."""

from __future__ import annotations

import time
from collections import OrderedDict
from enum import StrEnum
from typing import Annotated

import msgspec

from tlsgate.ops.session_view import short

MOST = 10_000  # users of each habit; the one not seen for longest makes room
_AT_ONCE = 25  # of each habit: what is taken at once fits a packet


class Habit(StrEnum):
    """What is old about a client."""

    OLD_TLS = "old_tls"  # below TLS 1.3
    NO_SNI = "no_sni"
    STARTTLS = "starttls"  # RFC 8314 3: implicit TLS is better
    CLEARTEXT = "cleartext"  # a login before TLS, refused; whose it was nobody has proven


class Noted(msgspec.Struct, frozen=True):
    """``last``: seconds of the epoch; ``client``, ``listener``: from where to where that was."""

    habit: Habit
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    count: Annotated[int, msgspec.Meta(ge=1)]
    last: float
    client: Annotated[str, msgspec.Meta(max_length=50)]
    listener: str


class ClientReport:
    """What was noted, each habit apart: who tries many names in clear pushes nobody out who has logged in."""

    def __init__(self) -> None:
        self._noted: dict[Habit, OrderedDict[str, Noted]] = {habit: OrderedDict() for habit in Habit}

    def note(self, habit: Habit, user: str | None, client: str, listener: str) -> None:
        """A user has come so, now; nothing is noted where none was named."""
        if known := short(user):
            self.add(Noted(habit, known, 1, round(time.time(), 3), client, listener))

    def add(self, noted: Noted) -> None:
        """What was noted, here or in another process."""
        users = self._noted[noted.habit]
        if (before := users.pop(noted.user, None)) is not None:
            last = max(before, noted, key=lambda each: each.last)
            noted = msgspec.structs.replace(last, count=before.count + noted.count)
        users[noted.user] = noted
        if len(users) > MOST:
            users.popitem(last=False)

    def rows(self, most: int) -> list[Noted]:
        """Those seen last, the latest first."""
        found = [each for users in self._noted.values() for each in users.values()]
        return sorted(found, key=lambda each: each.last, reverse=True)[:most]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not any(self._noted.values())

    def take(self) -> list[Noted]:
        """Some of what was noted, the oldest first, for another process to add; it is no longer here."""
        return [
            users.popitem(last=False)[1] for users in self._noted.values() for _ in range(min(_AT_ONCE, len(users)))
        ]
