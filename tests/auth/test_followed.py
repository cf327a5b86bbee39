"""Files that sources go by: what is read, and what is refused before it can hurt. Following: see test_users_file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsgate.auth.app_passwords_file import load_app_passwords
from tlsgate.auth.followed import LARGEST, UnusableFile, read_file
from tlsgate.auth.users_file import load


def test_the_whole_file_and_the_facts_of_that_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\xff\r\n")
    data, facts = read_file(path)
    assert (data, facts.st_ino) == (b"a\xff\r\n", path.stat().st_ino)


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "device", "large"])
def test_a_file_that_can_not_be_used(tmp_path: Path, what: str) -> None:
    """A pipe must not be waited for, nor the memory be filled."""
    path = tmp_path / "file"
    match what:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "large":
            with path.open("wb") as file:
                file.truncate(LARGEST + 1)
    for reads in (load, load_app_passwords):
        with pytest.raises(UnusableFile, match=r"No such file|is no file|directory|larger than 64 MiB"):
            reads(path)
