"""The token file: what is taken, what is refused, and that the token is shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsgate.ops.token import Token, TokenFault, read_token

SECRET = "0123456789abcdef"


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"  {SECRET}\r\n", f"{SECRET}\n" + " " * (1024 - 17)])
def test_the_space_around_it_is_no_part_of_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    assert read_token(tmp_path / "token").secret == SECRET


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds no token"),
        (SECRET[1:].encode(), "holds no token"),  # can be guessed
        (f"{SECRET}\n{SECRET}".encode(), "holds no token"),
        (f"{SECRET} {SECRET}".encode(), "holds no token"),
        (f"{SECRET}\xe9".encode(), "holds no token"),
        (b"x" * 1025, "is larger than 1024 octets"),
    ],
)
def test_what_is_no_token(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(TokenFault) as raised:
        read_token(tmp_path / "token")
    assert str(raised.value).startswith(why)
    assert SECRET[1:] not in str(raised.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe would keep the start and every reload waiting for its writer."""
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("gone", "No such file or directory"), ("", "Is a directory"), ("pipe", "is no file")):
        with pytest.raises(TokenFault, match=why):
            read_token(tmp_path / name)


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True)])
def test_who_may_read_it(tmp_path: Path, mode: int, told: bool) -> None:
    path = tmp_path / "token"
    path.write_text(SECRET)
    path.chmod(mode)
    assert read_token(path).open_to_all is told


@pytest.mark.parametrize(
    ("shown", "right"),
    [
        (f"Bearer {SECRET}", True),
        (f"bearer  {SECRET} ", True),
        (f"Bearer {SECRET[:-1]}", False),
        (f"Bearer {SECRET}0", False),
        ("Bearer ", False),
        (SECRET, False),
        (f"Basic {SECRET}", False),
        (f"Bearer {SECRET[:-1]}\xe9", False),
        ("", False),
    ],
)
def test_what_matches(shown: str, right: bool) -> None:
    assert Token(SECRET).matches(shown) is right


def test_it_is_not_in_its_repr() -> None:
    assert SECRET not in repr(Token(SECRET))
