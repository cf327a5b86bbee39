"""Stored secrets: the right one for the right user, from a file that nobody else can read, and shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsgate.auth.followed import UnusableFile
from tlsgate.auth.stored_secrets import StoredSecret, StoredSecrets, load
from tlsgate.dialogue.credentials import Credentials


def read(directory: Path, data: bytes, mode: int = 0o600) -> StoredSecrets:
    path = directory / "secrets"
    path.write_bytes(data)
    path.chmod(mode)
    return load(path)


def test_what_is_stored(tmp_path: Path) -> None:
    stored = read(
        tmp_path, b"# ours:theirs:secret\nann@example.org:ann:a:b: c \r\nbob::p\xffw\n\nc\xc3\xa4y:d\xc3\xa4n:x\n"
    )
    assert stored.remarks() == []
    assert stored.find("ann@example.org") == StoredSecret("ann", b"a:b: c ")
    assert stored.find("bob") == StoredSecret("", b"p\xffw")
    assert stored.find("c\u00e4y") == StoredSecret("d\u00e4n", b"x")


@pytest.mark.parametrize("user", ["Ann", "ANN", "ann ", " ann", "ann:", "ann::pw", "", "#", "an", "annn", "theirs"])
def test_nobody_else_gets_it(tmp_path: Path, user: str) -> None:
    """Not even by another case: for some sources "Ann" is somebody else."""
    assert read(tmp_path, b"#:theirs:x\nann:theirs:pw\n").find(user) is None


def test_whose_credentials_are_sent() -> None:
    assert StoredSecret("ann.old", b"pw").login_as("ann") == Credentials("ann.old", b"pw")
    assert StoredSecret("", b"pw").login_as("ann") == Credentials("ann", b"pw")


@pytest.mark.parametrize(
    "line",
    [
        b"hunter2",
        b"ann:hunter2",
        b":ann:hunter2",
        b"ann:ann:",
        b"ann::hunter2\0",
        b"ann::hun\rter2",
        b"ann:\x01:hunter2",
        b"a\xff::hunter2",
        b"ann:\xff:hunter2",
        b"ann::hunter2" + b"x" * 4096,
        b"ann::hunter2" + b"x" * 9000,
    ],
)
def test_a_faulty_line_is_left_out_and_not_shown(tmp_path: Path, line: bytes) -> None:
    stored = read(tmp_path, line + b"\nbob::pw\n")
    (fault,) = stored.remarks()
    assert fault.line == 1
    assert "hunter" not in fault.text
    assert stored.find("ann") is None
    assert stored.find("bob") == StoredSecret("", b"pw")


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602, 0o644, 0o660, 0o601])
def test_a_file_that_others_can_open_is_not_used(tmp_path: Path, mode: int) -> None:
    """It holds the passwords of many; who can write it can send one user to another's mail."""
    with pytest.raises(UnusableFile, match=f"mode {mode:04o}"):
        read(tmp_path, b"ann::pw\n", mode)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_of_ones_own_or_of_a_group_of_ones_own(tmp_path: Path, mode: int) -> None:
    assert read(tmp_path, b"ann::pw\n", mode).find("ann") is not None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe"):
        with pytest.raises(UnusableFile):
            load(path)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    stored = read(tmp_path, b"ann::hunter2\n")
    assert "hunter2" not in repr(stored) + repr(stored.find("ann"))
