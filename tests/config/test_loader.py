"""Files that are no config at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.files import completed, faults_of, written
from tlsgate.config import ConfigError, Fault, load


def fault_of(path: Path) -> Fault:
    """The one fault of a file as a whole."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    (fault,) = caught.value.faults
    assert (fault.file, fault.key) == (path, "")
    assert fault.problem
    assert fault.expected
    return fault


def test_missing_file(tmp_path: Path) -> None:
    """The commonest slip: it must be told as any other fault, not as a traceback."""
    assert "No such file" in fault_of(tmp_path / "nowhere.toml").problem


def test_directory(tmp_path: Path) -> None:
    assert "directory" in fault_of(tmp_path).problem


def test_path_that_no_file_can_have() -> None:
    assert "not a path" in fault_of(Path("a\0b")).problem


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "tlsgate.toml"
    path.write_bytes(b'[server]\nhostname = "mail.example.org"\nuser = "j\xf6rg"\n')
    fault = fault_of(path)
    assert "UTF-8" in fault.problem
    assert fault.line == 3


def test_size(tmp_path: Path) -> None:
    """A wrong file, a disk image or /dev/zero, must not fill the memory."""
    good = completed("")
    load(written(tmp_path, good + "#" * (1024**2 - len(good))))
    assert "larger than 1 MiB" in fault_of(written(tmp_path, good + "#" * (1024**2 - len(good) + 1))).problem


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = 1\nb = = 2\n", 2, "column 5"),
        ('a = 1\nb = "x\n', 2, "column"),
        ("a = 1\nb = [1,\n", 2, "the end of the file"),
        ("a = 1\na = 2\n", 2, "column"),
        ("[a]\n[b]\n[a]\n", 3, "column"),
        ("a = " + "9" * 5000, None, "a number too long"),
        ("a = " + "[" * 100_000, None, ""),
    ],
)
def test_not_toml(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    """A slip of the pen must be found by its line."""
    fault = fault_of(written(tmp_path, text))
    assert fault.line == line
    assert words in str(fault)


def test_syntax_error_shows_no_secret(tmp_path: Path) -> None:
    text = "[state]\nurl = valkey://:hunter2@host\n"
    assert "hunter2" not in str(fault_of(written(tmp_path, text)))


def test_faults_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Who mends a file goes through it once; what has no line comes last."""
    text = """
[log]
level = "loud"
[limits]
recipients = 0
connections = 0
[bogus]
[tls]
certificate = "c"
private_key = "k"
[server]
"""
    assert [(fault.line, fault.key) for fault in faults_of(tmp_path, text)] == [
        (3, "log.level"),
        (5, "limits.recipients"),
        (6, "limits.connections"),
        (7, "bogus"),
        (11, "server.hostname"),
        (None, "listeners"),
        (None, "pools"),
    ]


def test_start_stays_cheap() -> None:
    """Every command pays for this import; what only faulty files need, and what others bring, must not be in it."""
    code = "import sys, msgspec; old = set(sys.modules); import tlsgate.config; print(*sorted(set(sys.modules) - old))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    imported = set(run.stdout.split())
    assert "tlsgate.config.schema" in imported
    assert not imported & {"difflib", "inspect", "json", "ssl", "socket", "trio", "pydantic", "tlsgate.config.lines"}
    assert {name for name in imported if name.startswith("tlsgate.")} == {
        name for name in imported if name.startswith("tlsgate.config")
    }
