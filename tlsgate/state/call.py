"""One call that waits for the server's answer, together with others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import msgspec
import trio


class Down(Enum):
    """In place of an answer: there is no server to ask."""

    DOWN = "down"


@dataclass(slots=True, eq=False)
class Call:
    """``operation``: for the script, packed, its name first. ``valid``: whether an answer can be one to this call.

    ``keys``: where a place is taken if the answer is 0. ``since``: when it was asked, on trio's clock.
    """

    operation: msgspec.Raw
    valid: Callable[[object], bool]
    keys: tuple[str, ...] = ()
    since: float = field(default_factory=trio.current_time)
    answer: object = Down.DOWN
    abandoned: bool = False
    done: trio.Event = field(default_factory=trio.Event)


def whole(most: int) -> Callable[[object], bool]:
    """For answers from 0 to ``most``."""
    return lambda answer: type(answer) is int and 0 <= answer <= most


def record(answer: object) -> bool:
    """For octets or nothing."""
    return answer is None or type(answer) is bytes


def versioned(answer: object) -> bool:
    """For a version and records behind it."""
    if type(answer) is not list or not answer or type(answer[0]) is not int:
        return False
    return all(type(each) is bytes for each in answer[1:])


def octets(value: bytes) -> msgspec.Raw:
    """For a packed operation: msgpack's str, since the server's msgpack has no bin."""
    return msgspec.Raw(b"\xdb" + len(value).to_bytes(4) + value)
