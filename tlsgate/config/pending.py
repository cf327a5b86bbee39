"""Which keys of the config have no effect yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from msgspec.structs import fields

from tlsgate.config.enums import AuthSource, Mechanism
from tlsgate.config.fault import KeyPath, dotted
from tlsgate.config.schema import Config, Section

# Keys, and whole sections, that wait for their capability; with the values beside the default that work already.
# What is built loses its line. "[]" stands for any index, "*" for any name.
PENDING: Mapping[str, tuple[Enum, ...]] = {
    "tls.client_ca": (),
    "auth.source": (AuthSource.BACKEND, AuthSource.USERS_FILE),
    "auth.mechanisms": (Mechanism.PLAIN, Mechanism.LOGIN),
    "auth.auth_http": (),
    "auth.oauth": (),
}


def not_active(config: Config) -> tuple[str, ...]:
    """The dotted keys that are set, to something else than their default, and have no effect yet."""
    return tuple(dotted(key) for key, name, value in _set_keys(config, (), "") if not _works(name, value))


def _set_keys(section: Section, at: KeyPath, name: str) -> Iterator[tuple[KeyPath, str, object]]:
    """Keys that aren't at their default: where, called what in PENDING, and the value."""
    for field in fields(section):
        value = getattr(section, field.name)
        key, called = (*at, field.name), f"{name}.{field.name}".removeprefix(".")
        match value:
            case Section():
                yield from _set_keys(value, key, called)
            case Mapping():
                for each, inner in value.items():
                    yield from _set_keys(inner, (*key, each), f"{called}.*")
            case (Section(), *_) if called not in PENDING:
                for index, inner in enumerate(value):
                    yield from _set_keys(inner, (*key, index), f"{called}[]")
            case _ if value != field.default:
                yield key, called, value


def _works(name: str, value: object) -> bool:
    """Whether a key has no line in PENDING, neither has its section; or the line has its value."""
    while name and name not in PENDING:
        name = name.rpartition(".")[0]
    values = value if isinstance(value, tuple) else (value,)
    return not name or all(each in PENDING[name] for each in values)
