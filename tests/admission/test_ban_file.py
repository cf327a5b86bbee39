"""The ban file: whole whatever happens, and nobody else's to read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlsgate.admission import ban_file
from tlsgate.admission.ban_file import BanFile


@pytest.fixture
def file(tmp_path: Path) -> BanFile:
    return BanFile(tmp_path)


def test_what_was_written_is_read(file: BanFile) -> None:
    assert file.read() is None
    file.write(b"first, and longer")
    file.write(b"second")
    assert file.read() == b"second"


def test_only_its_owner_may_read_it_and_nothing_else_is_left(file: BanFile, tmp_path: Path) -> None:
    file.write(b"bans")
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file.path]


def test_a_write_that_fails_leaves_the_old_file(file: BanFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full takes some of it: that must not be what is read at the next start."""
    file.write(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"new")
    assert file.read() == b"old"
    assert list(tmp_path.iterdir()) == [file.path]


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    file = BanFile(tmp_path / "none")
    assert file.read() is None
    with pytest.raises(FileNotFoundError):
        file.write(b"bans")


def test_a_file_that_is_far_too_large_is_not_read_whole(file: BanFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ban_file, "_MOST_BYTES", 1000)
    file.write(b"x" * 5000)
    assert file.read() == b"x" * 1000


_WRITER = """
import sys
from pathlib import Path
from tlsgate.admission.ban_file import BanFile
file = BanFile(Path(sys.argv[1]))
for number in range(1_000_000):
    file.write(b"%d\\n" % number * 20_000 + b"end")
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(file: BanFile) -> None:
    for round_ in range(5):
        writing = subprocess.Popen([sys.executable, "-c", _WRITER, str(file.path.parent)])
        try:
            until = time.monotonic() + 20
            file.path.unlink(missing_ok=True)
            while not file.path.exists():
                assert writing.poll() is None
                assert time.monotonic() < until
            for _ in range(round_ * 40):  # some way into a later write
                file.read()
        finally:
            writing.send_signal(signal.SIGKILL)
            writing.wait()
        dumped = file.read()
        assert dumped is not None
        lines = dumped.split(b"\n")
        assert lines.pop() == b"end"
        assert len(lines) == 20_000
        assert len(set(lines)) == 1
