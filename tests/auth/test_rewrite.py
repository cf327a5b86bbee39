"""A users file in the moment of its change: whole at any time, and nobody else's to read."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.system.peers import needs_root
from tlsgate.auth import followed
from tlsgate.auth.followed import UnusableFile
from tlsgate.auth.rewrite import read, rewrite


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_mode_and_text(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"old\r\n")
    path.chmod(mode)
    rewrite(path, lambda data: data + b"new\xff")
    assert (path.read_bytes(), mode_of(path)) == (b"old\r\nnew\xff", mode)
    assert list(tmp_path.iterdir()) == [path]


def test_the_owner_stays(tmp_path: Path) -> None:
    """The gateway's own user may be the only one to read it."""
    needs_root("a file is given away")
    path = tmp_path / "users"
    path.write_bytes(b"old")
    os.chown(path, 8, 12)
    rewrite(path, lambda _: b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (8, 12)


def test_a_new_file_is_its_makers_alone(tmp_path: Path) -> None:
    path = tmp_path / "users"
    before = os.umask(0)
    try:
        rewrite(path, lambda data: data + b"new", create=True)
    finally:
        os.umask(before)
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)


def test_what_is_not_there_is_not_made_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rewrite(tmp_path / "users", lambda data: data)
    assert list(tmp_path.iterdir()) == []


def test_a_link_goes_on_being_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path, link = tmp_path / "real" / "users", tmp_path / "users"
    path.write_bytes(b"old")
    link.symlink_to(path)
    rewrite(link, lambda _: b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_change_that_fails_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the last step before the new file takes the place: half a file would lock out half of the users."""
    path = tmp_path / "users"
    path.write_bytes(b"old")
    inode = path.stat().st_ino

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            rewrite(path, lambda _: b"new")
    with pytest.raises(ZeroDivisionError):
        rewrite(path, lambda data: data * (1 // 0))
    assert (path.read_bytes(), path.stat().st_ino, list(tmp_path.iterdir())) == (b"old", inode, [path])


def test_who_reads_the_old_file_reads_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        rewrite(path, lambda _: b"new text")
        assert reader.read() == b"old"


def test_changes_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    """Two administrators: the second would else write the file without the first's user."""
    path = tmp_path / "users"
    path.write_bytes(b"")
    threads = [
        threading.Thread(target=rewrite, args=(path, lambda data, number=number: data + b"%d\n" % number))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(map(int, path.read_bytes().split())) == list(range(20))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableFile, match="is no file"):
        read(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"directory"):
        read(tmp_path)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users"
    monkeypatch.setattr(followed, "LARGEST", 10)
    path.write_bytes(b"x" * 10)
    assert read(path) == b"x" * 10
    path.write_bytes(b"x" * 11)
    with pytest.raises(UnusableFile, match="is larger than"):
        rewrite(path, lambda data: data)
