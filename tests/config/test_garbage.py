"""Anything that TOML can say, at any key: a config or faults, never another exception, never a secret shown."""

from __future__ import annotations

import datetime
import json
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.files import written
from tlsgate.config import Config, ConfigError, load

FULL = tomllib.loads(Path(__file__).with_name("full.toml").read_text())
SECRET = "hunter2"

Key = tuple[str | int, ...]


def _keys(value: object, key: Key = ()) -> list[Key]:
    match value:
        case dict():
            return [key, *(found for name, inner in value.items() for found in _keys(inner, (*key, name)))]
        case list():
            return [key, *(found for index, inner in enumerate(value) for found in _keys(inner, (*key, index)))]
        case _:
            return [key]


def _with(value: object, key: Key, garbage: object) -> object:
    """``value`` with ``garbage`` at ``key``."""
    if not key:
        return garbage
    match value:
        case dict():
            return value | {key[0]: _with(value.get(key[0]), key[1:], garbage)}
        case list():
            return [_with(inner, key[1:], garbage) if index == key[0] else inner for index, inner in enumerate(value)]
        case _:
            return garbage


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case float():
            return "nan" if math.isnan(value) else str(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{_toml(name)} = {_toml(inner)}' for name, inner in value.items())} }}"
        case _:
            return str(value)


def _document(table: dict[str, object]) -> str:
    return "".join(f"{_toml(name)} = {_toml(value)}\n" for name, value in table.items())


texts = (
    st.text(max_size=80).filter(lambda text: SECRET not in text)
    | st.from_regex(r"[0-9]{0,3}(ms|s|m|h|d|KiB|MiB|/1m|:[0-9]{0,6})?", fullmatch=True)
    | st.sampled_from(
        ["imap", "mx", "none", "master", "xclient", "oauth", "[::]:9090", "10.0.0.0/8", "::/0", "unix:/x"]
    )
)
secrets = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "valkey://", "valkey://:", "http://user:", "https://", "imap://u:", "user:", "//", "a\n"]),
    st.just(SECRET),
    st.sampled_from(["@host", "@host:143", "@[::1]:143", "@", "@a b", "@host:port/0", "@10.0.0.1/8"]),
    st.text(max_size=5),
)
numbers = st.integers() | st.floats() | st.integers(min_value=1 << 64, max_value=1 << 80)
times = st.dates() | st.times() | st.datetimes(min_value=datetime.datetime(1000, 1, 1))
scalars = texts | secrets | numbers | times | st.booleans()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | secrets, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("garbage")


@settings(max_examples=400, deadline=None)
@given(garbage=st.lists(st.tuples(st.sampled_from(_keys(FULL)), values), min_size=1, max_size=4))
def test_garbage(directory: Path, garbage: list[tuple[Key, object]]) -> None:
    """An exception of another kind would end a reload, and the gateway with it; a secret in a fault would be logged."""
    table: object = FULL
    for key, value in garbage:
        table = _with(table, key, value)
    path = written(directory, _document(table) if isinstance(table, dict) else _document({"a": table}))
    try:
        config = load(path)
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            assert SECRET not in str(fault)
            assert str(fault).isprintable()
            assert fault.problem
            assert fault.expected
    else:
        assert isinstance(config, Config)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("ab[]{}=.,#\"'\\\n 1"), max_size=40))
def test_small_documents(directory: Path, text: str) -> None:
    """Whatever tomllib takes, the search for lines must come through."""
    with pytest.raises(ConfigError):
        load(written(directory, text))
