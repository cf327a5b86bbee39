"""Failed logins of one network or one user name within a window: the arithmetic of delays, without a clock or a store.

As Dovecot's auth penalty: the more has failed lately, the longer the next attempt waits before it is looked at. The
same wrong password again is no new failure: a phone that has an old one saved asks for hours, and guesses nothing.
"""

from __future__ import annotations

import msgspec

_LONGEST_DELAY = 15.0  # Dovecot's too; the client still has its answer within the login's time
_MOST_KEPT = 1000


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """``when``: seconds of the epoch. ``what``: a keyed hash of what was shown, b"" for what wasn't looked at."""

    when: float
    what: bytes


def decode(record: bytes | None) -> tuple[Failure, ...]:
    """Raises msgspec.DecodeError (a ValueError) on what ``encode`` didn't make."""
    return () if record is None else msgspec.msgpack.decode(record, type=tuple[Failure, ...])


def encode(failures: tuple[Failure, ...]) -> bytes:
    """As a record of a store."""
    return msgspec.msgpack.encode(failures)


def recent(failures: tuple[Failure, ...], now: float, window: float) -> tuple[Failure, ...]:
    """Those of the last ``window`` seconds."""
    return tuple(each for each in failures if each.when > now - window)


def with_one_more(failures: tuple[Failure, ...], new: Failure, most: int) -> tuple[Failure, ...]:
    """With a new failure behind them; the newest ``most`` are kept. As they were if it is none (see above)."""
    if new.what and any(each.what == new.what for each in failures):
        return failures
    return (*failures, new)[-min(most, _MOST_KEPT) :]


def delay(count: int) -> float:
    """How long the next attempt waits behind so many failures, in seconds: 1, 2, 4, 8, 15, 15…"""
    return min(2.0 ** min(count - 1, 10), _LONGEST_DELAY) if count > 0 else 0.0
