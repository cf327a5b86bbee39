"""What other processes have counted: dumped there, absorbed here. Works for any object whose attributes are numbers,
tables of numbers and distributions."""

from __future__ import annotations

from enum import Enum
from typing import Any

from tlsgate.ops.distribution import Distribution

_MOST_ROWS = 10_000

Dumped = dict[str, Any]


def dump(counted: object) -> Dumped:
    """``counted``'s attributes as plain values that ``absorb`` takes."""
    return {name: _dump(value) for name, value in vars(counted).items()}


def absorb(counted: object, dumped: Dumped) -> None:
    """Add what ``dump`` gave elsewhere. What isn't known here is left out. Raises ValueError, TypeError on nonsense."""
    for name, value in vars(counted).items():
        if name in dumped:
            setattr(counted, name, _add(value, dumped[name]))


def without_levels(dumped: Dumped, levels: tuple[str, ...]) -> Dumped:
    """Without the attributes that say how things are now: those of a process that has ended are over."""
    return {name: value for name, value in dumped.items() if name not in levels}


def _dump(value: object) -> object:
    match value:
        case Distribution():
            return [value.counts, value.total]
        case dict():
            return [[list(key) if isinstance(key, tuple) else key, count] for key, count in list(value.items())]
        case _:
            return value


def _add(mine: Any, theirs: Any) -> Any:
    match mine:
        case bool():
            return mine and bool(theirs)
        case int() | float():
            return mine + type(mine)(theirs)
        case Distribution():
            counts, total = theirs
            other = Distribution(mine.bounds)
            other.counts, other.total = [int(count) for count in counts], float(total)
            mine.add(other)
            return mine
        case dict():
            kind = next((type(key) for key in mine if isinstance(key, Enum)), None)
            for key, count in theirs[:_MOST_ROWS]:
                own = kind(key) if kind else tuple(str(word) for word in key) if isinstance(key, list) else str(key)
                mine[own] = mine.get(own, 0) + int(count)
            return mine
        case _:
            raise TypeError(f"can't add a {type(mine).__name__}")
