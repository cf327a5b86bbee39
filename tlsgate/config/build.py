"""From TOML's tables to the schema's sections, with every fault on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, cast, get_args, get_origin

from msgspec.structs import FieldInfo, fields

from tlsgate.config.advice import closest, one_of
from tlsgate.config.fault import Finding, KeyPath, Wrong, dotted, shown
from tlsgate.config.kinds import NAME, Kind, ListOf
from tlsgate.config.schema import Config, Section


class Unread(AttributeError):
    """A key that couldn't be read was asked for."""


class Damaged:
    """Stands for a section with faults: it has the keys that could be read, any other raises Unread."""

    def __init__(self, values: dict[str, object]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> NoReturn:
        raise Unread(name)


def build(table: dict[str, object], directory: Path) -> tuple[Config, list[Finding]]:
    """A Config and no findings; or Damaged, with as many of a Config's attributes as could be read, and why not all.

    Relative paths are from ``directory``.
    """
    builder = _Builder(directory)
    # Damaged goes by the same type: rules read both alike, and nobody else sees one.
    return cast("Config", builder.section(Config, table, ())), builder.findings


class _Builder:
    """Notes what is wrong; where that leaves no value, Unread goes up to what can go on without it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.findings: list[Finding] = []

    def section(self, section: type[Section], table: object, at: KeyPath) -> Section | Damaged:
        known = {field.name: field for field in fields(section)}
        if not isinstance(table, dict):
            self._note(at, f"{shown(table)} is not a table", _table_advice(known.values(), at))
            return Damaged({})
        before = len(self.findings)
        for key in table:
            if key not in known:
                self._note((*at, key), *_unknown(key, known, at))
        values: dict[str, Any] = {}
        for name, field in known.items():
            with suppress(Unread):
                values[name] = self._field(field, table, (*at, name))
        return section(**values) if len(self.findings) == before else Damaged(values)

    def _field(self, field: FieldInfo, table: dict[str, object], at: KeyPath) -> object:
        shape = get_origin(field.type)
        if shape is None:
            return self.section(field.type, table.get(field.name, {}), at)
        if field.name not in table:
            if field.required:
                raise self._note(at, "is missing", _advice(field.type, at))
            return field.default
        value = table[field.name]
        if field.required and shape in (tuple, Mapping) and value in ([], {}):
            raise self._note(at, "is empty", _advice(field.type, at))
        if shape is tuple:
            return self._sections(get_args(field.type)[0], value, at)
        if shape is Mapping:
            return self._named_sections(get_args(field.type)[1], value, at)
        kind: Kind | ListOf = field.type.__metadata__[0]
        return self._value(kind, value, at) if isinstance(kind, Kind) else self._list(kind, value, at)

    def _sections(self, section: type[Section], value: object, at: KeyPath) -> tuple[Section | Damaged, ...]:
        if not isinstance(value, list):
            raise self._note(at, f"{shown(value)} is not a list of tables", f"use [[{dotted(at)}]]")
        return tuple(self.section(section, table, (*at, index)) for index, table in enumerate(value))

    def _named_sections(self, section: type[Section], value: object, at: KeyPath) -> Mapping[str, Section | Damaged]:
        if not isinstance(value, dict):
            raise self._note(at, f"{shown(value)} is not a table", f"use [{dotted(at)}.NAME]")
        for name in value:
            with suppress(Unread):
                self._value(NAME, name, (*at, name))
        return MappingProxyType({name: self.section(section, table, (*at, name)) for name, table in value.items()})

    def _list(self, kind: ListOf, value: object, at: KeyPath) -> tuple[object, ...]:
        if kind.alone and not isinstance(value, list):
            return (self._value(kind.kind, value, at),)
        if not isinstance(value, list):
            raise self._note(at, f"{shown(value)} is not a list", kind.advice)
        if len(value) < kind.least:
            raise self._note(at, "is empty", kind.advice)
        read = []
        for index, each in enumerate(value):
            with suppress(Unread):
                read.append(self._value(kind.kind, each, (*at, index)))
        if len(read) < len(value):
            raise Unread(dotted(at))
        return tuple(read)

    def _value(self, kind: Kind, value: object, at: KeyPath) -> object:
        try:
            read = kind.read(value)
        except Wrong as wrong:
            raise self._note(at, wrong.problem, wrong.expected) from None
        return self._directory / read if isinstance(read, Path) else read

    def _note(self, at: KeyPath, problem: str, expected: str) -> Unread:
        self.findings.append(Finding(at, problem, expected))
        return Unread(dotted(at))


def _advice(field_type: Any, at: KeyPath) -> str:
    """What to write for a key that is missing."""
    shape = get_origin(field_type)
    if shape is tuple:
        return f"give at least one [[{dotted(at)}]]"
    if shape is Mapping:
        return f"give at least one [{dotted(at)}.NAME]"
    kind: Kind | ListOf = field_type.__metadata__[0]
    return kind.advice


def _table_advice(known: Collection[FieldInfo], at: KeyPath) -> str:
    if isinstance(at[-1], int):
        return f"use a table: {{ {', '.join(f'{field.name} = …' for field in known if field.required)} }}"
    return f"use [{dotted(at)}]"


def _unknown(key: str, known: Collection[str], at: KeyPath) -> tuple[str, str]:
    """The problem and the advice for a key that isn't one of ``known``."""
    heading = dotted(tuple(part for part in at if isinstance(part, str)))
    problem = f"is not a key of [{heading}]" if at else "is not a section of the config"
    if meant := closest(key, known):
        return problem, f'did you mean "{meant}"?'
    for field in fields(Config):
        if key in _keys_of(field.type):
            home = f"{field.name}.NAME" if get_origin(field.type) is Mapping else field.name
            return problem, f"did you mean {home}.{key}?"
    return problem, f"use {one_of(known)}"


def _keys_of(field_type: Any) -> tuple[str, ...]:
    """The keys of the section that a field of Config holds, by itself, in a list or by name."""
    parts = (field_type, *get_args(field_type))
    section: type[Section] = next(part for part in parts if isinstance(part, type) and issubclass(part, Section))
    return section.__struct_fields__
