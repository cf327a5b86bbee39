"""The master user: whose credentials are sent for whom, and what can't be one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsgate import config
from tlsgate.auth.master import Master, MasterFault, UnfitName, read_master
from tlsgate.config import LoginMode
from tlsgate.dialogue.credentials import LONGEST_SECRET, Credentials


def pool(path: Path | None, user: str = "root", separator: str = "*") -> config.Pool:
    return config.Pool(
        backends=(),
        login=LoginMode.MASTER,
        master_user=user,
        master_separator=separator,
        master_password_file=path,
    )


def written(directory: Path, data: bytes, mode: int = 0o600) -> Path:
    path = directory / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("data", "secret"),
    [(b"pw", b"pw"), (b"pw\n", b"pw"), (b"pw\r\n", b"pw"), (b" p w \n", b" p w "), (b"p\xffw\n", b"p\xffw")],
)
def test_the_password_is_the_files_one_line(tmp_path: Path, data: bytes, secret: bytes) -> None:
    assert read_master(pool(written(tmp_path, data))) == Master("root", "*", secret)


def test_the_longest_password(tmp_path: Path) -> None:
    assert read_master(pool(written(tmp_path, b"x" * LONGEST_SECRET + b"\r\n"))).secret == b"x" * LONGEST_SECRET


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"one\ntwo\n", b"pw\n\n", b"p\0w\n", b"p\rw", b"x" * (LONGEST_SECRET + 1)]
)
def test_what_is_no_password_is_a_fault_that_does_not_show_it(tmp_path: Path, data: bytes) -> None:
    """A second line, cut off in silence, would be a login that fails for no reason that anybody sees."""
    with pytest.raises(MasterFault) as fault:
        read_master(pool(written(tmp_path, data)))
    assert "two" not in str(fault.value) and "xx" not in str(fault.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe"):
        with pytest.raises(MasterFault):
            read_master(pool(path))


@pytest.mark.parametrize(("mode", "open_to_all"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_who_may_read_it(tmp_path: Path, mode: int, open_to_all: bool) -> None:
    assert read_master(pool(written(tmp_path, b"pw", mode))).open_to_all is open_to_all


def test_the_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(Master("root", "*", b"hunter2"))


def test_whose_credentials_are_sent() -> None:
    assert Master("root", "*", b"pw").login_as("ann") == (Credentials("ann*root", b"pw"), "")
    who, act_as = Master("root", "", b"pw").login_as("ann*bob")
    assert (who.user, who.secret, act_as) == ("root", b"pw", "ann*bob")


@pytest.mark.parametrize(("separator", "user"), [("*", "ann*"), ("--", "a--b"), ("*", "a" * 510), ("", "a" * 513)])
def test_for_whom_the_master_cannot_log_in(separator: str, user: str) -> None:
    with pytest.raises(UnfitName):
        Master("root", separator, b"pw").login_as(user)
