"""Every key of the config as a Markdown page: ``python -m tlsgate.config.reference`` prints it (``make docs``).

Keys, types, bounds and defaults are the schema's; what they mean is in meanings.toml beside it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from msgspec.structs import FieldInfo, fields

from tlsgate.config.kinds import Kind, ListOf
from tlsgate.config.schema import Config, Section
from tlsgate.config.values import Rate

_HEAD = """\
# Configuration

One TOML file. A key that isn't here is a fault; `tlsgate check --config FILE` tells every fault at once, by its line,
and what would be right. A file's path is relative to the directory of the config. What is *needed* has no default; a
key whose default is "" is off, or as its line says.

This page is made from the code, by `make docs`.
"""

Meanings = Mapping[str, Any]


def page() -> str:
    """The whole page."""
    return "\n".join((_HEAD, *_sections(Config, read_meanings(), ()))).rstrip("\n") + "\n"


def read_meanings() -> Meanings:
    """What the keys mean: text by name, within tables as the config has them; "_" is a table's own."""
    with Path(__file__).with_name("meanings.toml").open("rb") as file:
        return tomllib.load(file)


def inner_section(field_type: Any) -> type[Section] | None:
    """The section that a field holds, by itself, in a list or by name; None for a value."""
    parts = () if hasattr(field_type, "__metadata__") else (field_type, *get_args(field_type))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Section)), None)


def kind_of(field: FieldInfo) -> Kind | ListOf:
    """How a field's value is written."""
    kind: Kind | ListOf = field.type.__metadata__[0]
    return kind


def _sections(section: type[Section], meanings: Meanings, at: tuple[str, ...]) -> Iterator[str]:
    """A section's own keys, then the sections within it."""
    if at:
        yield f"{meanings['_']}\n"
        yield "| key | takes | default | means |\n| --- | --- | --- | --- |"
        yield from (_row(field, meanings) for field in fields(section))
        yield ""
    for field in fields(section):
        inner = inner_section(field.type)
        if inner is not None:
            yield f"## {_heading(field, at)}\n"
            yield from _sections(inner, meanings[field.name], (*at, field.name))


def _heading(field: FieldInfo, at: tuple[str, ...]) -> str:
    if at == ("pools",):
        return f"`[pools.NAME]`, `{field.name}`"
    dotted = ".".join((*at, field.name))
    match get_origin(field.type):
        case None:
            return f"`[{dotted}]`"
        case origin if origin is tuple:
            return f"`[[{dotted}]]`"
        case _:
            return f"`[{dotted}.NAME]`"


def _row(field: FieldInfo, meanings: Meanings) -> str:
    meaning = meanings[field.name]
    if inner_section(field.type) is not None:
        takes, default, meaning = "tables", "none", meaning["_"]
    else:
        takes, default = _takes(kind_of(field)), "" if field.required else written_default(field)
    if field.required:
        default = "*needed*"
    return f"| `{field.name}` | {takes} | {default} | {meaning} |"


def _takes(kind: Kind | ListOf) -> str:
    """The type of a value, and its bounds."""
    if isinstance(kind, ListOf):
        each = _takes(kind.kind)
        return f"{'one, or ' if kind.alone else ''}a list{' of one or more' if kind.least else ''}: {each}"
    advice = kind.advice.removeprefix("use ")
    return re.sub(r'^one (from "[^"]*" to "[^"]*"), such as .*$', rf"{kind.name} \1", advice)


def written_default(field: FieldInfo) -> str:
    """A field's default as TOML, in backquotes; "none" for a key that can only be left out."""
    kind = kind_of(field)
    if field.default is None:
        return '`""`' if isinstance(kind, Kind) and _is_read(kind, "") else "none"
    if isinstance(kind, ListOf):
        each = [_toml(value, kind.kind) for value in field.default]
        return f"`{each[0] if kind.alone and len(each) == 1 else '[' + ', '.join(each) + ']'}`"
    return f"`{_toml(field.default, kind)}`"


def _is_read(kind: Kind, value: object) -> bool:
    try:
        kind.read(value)
    except ValueError:
        return False
    return True


_DURATIONS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def _toml(value: object, kind: Kind) -> str:
    """A value as a config has it."""
    match value:
        case bool():
            return str(value).lower()
        case Rate(count, seconds):
            return f'"{count}/{_measured(seconds, _DURATIONS)}"'
        case float():
            return f'"{_measured(value, _DURATIONS)}"'
        case int() if kind.name == "a size":
            return f'"{_measured(value, _SIZES)}"'
        case int():
            return str(value)
        case _:
            return f'"{value}"'


def _measured(value: float, units: tuple[tuple[int, str], ...]) -> str:
    """In the largest unit that it is a whole number of; seconds for nothing at all."""
    unit, name = next((each for each in units if value and value % each[0] == 0), units[-1])
    return f"{value / unit:g}{name}"


if __name__ == "__main__":
    sys.stdout.write(page())
