"""A draft as the TOML of a config file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tlsgate.importing.draft import Draft, Plain, Table, Value


def toml(draft: Draft, origin: str) -> str:
    """The config file's text. ``origin``: what it was made from, for its first line."""
    tables = ["\n".join(_table(each)) for each in draft.tables if each.keys or each.remarks]
    return (
        "\n\n".join([_comment(f"Made from {origin}. Look it through, then: tlsgate check --config FILE"), *tables])
        + "\n"
    )


def _table(table: Table) -> Iterator[str]:
    if table.header:
        yield table.header
    yield from map(_comment, table.remarks)
    for key, value in table.keys.items():
        yield f"{key} = {_value(value)}"


def _comment(text: str) -> str:
    return "# " + "".join(each if each.isprintable() else "?" for each in text)


def _value(value: Value) -> str:
    if isinstance(value, str | int):
        return _plain(value)
    if any(isinstance(each, Mapping) for each in value):
        return "".join(["[\n", *(f"    {_inline(each)},\n" for each in value if isinstance(each, Mapping)), "]"])
    return f"[{', '.join(_plain(each) for each in value if isinstance(each, str))}]"


def _inline(table: Mapping[str, Plain]) -> str:
    return f"{{ {', '.join(f'{key} = {_plain(value)}' for key, value in table.items())} }}"


def _plain(value: Plain) -> str:
    # Strings of JSON are basic strings of TOML, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
