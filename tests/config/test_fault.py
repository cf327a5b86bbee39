"""How faults are told."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tlsgate.config.fault import ConfigError, Fault, Wrong, dotted, kind_of, shown


def test_fault_as_text() -> None:
    """Editors and people find the place by this form."""
    path = Path("/etc/tlsgate.toml")
    fault = Fault(path, "limits.connections", "0 is less than is allowed", "use a whole number", 7)
    assert str(fault) == "/etc/tlsgate.toml:7: limits.connections: 0 is less than is allowed; use a whole number"
    assert str(Fault(path, "", "is not UTF-8", "")) == "/etc/tlsgate.toml: is not UTF-8"


def test_error_has_every_fault() -> None:
    """Who prints the error alone would show only some of the faults."""
    faults = tuple(Fault(Path("x"), key, "is missing", "") for key in ("a", "b"))
    error = ConfigError(faults)
    assert error.faults == faults
    assert str(error) == "x: a: is missing\nx: b: is missing"


def test_wrong_as_text() -> None:
    assert str(Wrong("is empty", "use more")) == "is empty; use more"
    assert str(Wrong()) == ""


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ((), ""),
        (("limits", "connections"), "limits.connections"),
        (("pools", "imap", "backends", 1, "tls"), "pools.imap.backends[1].tls"),
        (("pools", "a.b", "login"), 'pools."a.b".login'),
        (("a\x1b[31m",), '"a\\x1b[31m"'),
        (("",), '""'),
    ],
)
def test_dotted(key: tuple[str | int, ...], text: str) -> None:
    """A key that is told otherwise can't be found in the file, or does something to the terminal."""
    assert dotted(key) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("imap", '"imap"'),
        ("a\x1b[2Jb\n", '"a\\x1b[2Jb\\n"'),
        (100 * "x", f'"{60 * "x"}…"'),
        ("valkey://user:hunter2@host", '"…@host"'),
        ("hun@ter2\n@host:143", '"…@host:143"'),
        (True, "true"),
        (5, "5"),
        (1 << 63, "9223372036854775808"),
        (1 << 5000, "a number of more than 64 bits"),
        (1.5, "1.5"),
        ([1], "a list"),
        ({"a": 1}, "a table"),
        (datetime.date(2026, 1, 1), "a date or time"),
    ],
)
def test_shown(value: object, text: str) -> None:
    """A value in a message must fit a line, do nothing to a terminal and show no password."""
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(False, "a boolean"), ("x", "a string"), (5, "a number"), (1.5, "a number"), ([], "a list")]
)
def test_kind_of(value: object, text: str) -> None:
    """This stands where the value may be a secret."""
    assert kind_of(value) == text
