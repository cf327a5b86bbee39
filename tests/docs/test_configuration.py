"""docs/configuration.md is made from the schema, and stays what the schema says."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from msgspec.structs import FieldInfo, fields

from tests.docs.pages import ROOT
from tlsgate.config.kinds import ListOf
from tlsgate.config.reference import inner_section, kind_of, page, read_meanings, written_default
from tlsgate.config.schema import Config, Section


def _names(section: type[Section], at: str = "") -> Iterator[str]:
    for field in fields(section):
        inner = inner_section(field.type)
        if inner is None:
            yield at + field.name
        else:
            yield from _names(inner, f"{at}{field.name}.")
    if at:
        yield at + "_"


def _described(meanings: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for name, meaning in meanings.items():
        if isinstance(meaning, str):
            yield at + name
        else:
            yield from _described(meaning, f"{at}{name}.")


def _values(section: type[Section]) -> Iterator[FieldInfo]:
    for field in fields(section):
        inner = inner_section(field.type)
        if inner is None:
            yield field
        else:
            yield from _values(inner)


def test_the_page_is_up_to_date() -> None:
    """Else it tells of keys that are gone, or of defaults that don't hold; `make docs` writes it."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == page()


def test_every_key_has_a_meaning_and_no_meaning_is_without_key() -> None:
    assert sorted(_described(read_meanings())) == sorted(_names(Config))


def test_meanings_say_something() -> None:
    """Empty, or with a "|", a row of the table is broken."""
    flat = [text for section in read_meanings().values() for text in _texts(section)]
    assert [text for text in flat if not text.strip() or "|" in text or "\n" in text] == []


def _texts(meanings: Mapping[str, Any]) -> Iterator[str]:
    for meaning in meanings.values():
        if isinstance(meaning, str):
            yield meaning
        else:
            yield from _texts(meaning)


DEFAULTS = [field for field in _values(Config) if not field.required]


@pytest.mark.parametrize("field", DEFAULTS, ids=lambda field: field.name)
def test_defaults_are_shown_as_they_are_written(field: FieldInfo) -> None:
    """Who copies a default out of the page must get the default."""
    kind, shown = kind_of(field), written_default(field)
    if shown == "none":
        assert field.default is None
        return
    value = tomllib.loads(f"value = {shown.strip('`')}")["value"]
    if not isinstance(kind, ListOf):
        assert kind.read(value) == field.default
    else:
        values = value if isinstance(value, list) else [value]
        assert tuple(kind.kind.read(each) for each in values) == field.default
