"""What is wrong with a config file, and the error that tells all of it at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

KeyPath = tuple[str | int, ...]


class Wrong(ValueError):
    """A value that can't be used: ``problem`` says what is wrong with it, ``expected`` what would be right.

    An empty one is filled in by who knows the key. Its text never shows a value that may be secret.
    """

    def __init__(self, problem: str = "", expected: str = "") -> None:
        super().__init__(_sentence(problem, expected))
        self.problem = problem
        self.expected = expected


class Finding(Struct, frozen=True):
    """What is wrong at a key, before it is known where in a file that is."""

    key: KeyPath
    problem: str
    expected: str


Findings = Iterator[Finding]


class Fault(Struct, frozen=True):
    """One thing to mend in ``file``. ``key`` is "" for the file as a whole; ``line`` is None where it isn't known."""

    file: Path
    key: str
    problem: str
    expected: str
    line: int | None = None

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        parts = (place, self.key, _sentence(self.problem, self.expected))
        return ": ".join(part for part in parts if part)


class ConfigError(Exception):
    """A config file that can't be used; ``faults`` holds every fault of it, in the file's order."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def _sentence(problem: str, expected: str) -> str:
    return "; ".join(part for part in (problem, expected) if part)


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dotted(key: KeyPath) -> str:
    """A key as TOML would write it, with the index of a list's element: ``pools.imap.backends[1].tls``."""
    parts = []
    for part in key:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            parts.append(f".{part if _BARE_KEY.fullmatch(part) else shown(part)}")
    return "".join(parts).removeprefix(".")


_LONGEST_SHOWN = 60
# What may be a password: in a URL, or in "user:password@host".
_USERINFO = re.compile(r".*@", re.DOTALL)


def shown(value: object) -> str:
    """A TOML value in few words, on one line, safe for a terminal; without what may be a password."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            text = _USERINFO.sub("…@", value, count=1)
            text = text if text.isprintable() else text.encode("unicode_escape").decode()
            return f'"{text}"' if len(text) <= _LONGEST_SHOWN else f'"{text[:_LONGEST_SHOWN]}…"'
        case int():
            return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"
        case float():
            return str(value)
        case _:
            return kind_of(value)


def kind_of(value: object) -> str:
    """The kind of a TOML value, for where the value itself must not be shown."""
    match value:
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"
