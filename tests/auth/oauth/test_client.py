"""Our name and secret at the issuer: read from a file, sent as RFC 6749 wants it, shown nowhere."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from tlsgate.auth.oauth.client import Client, SecretFault, read_client


def test_both_parts_are_encoded_as_in_a_form() -> None:
    """A colon in the name would else begin the secret (RFC 6749 2.3.1)."""
    value = Client("https://gate", "a b:c%é").authorization()
    scheme, _, coded = value.partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(coded) == b"https%3A%2F%2Fgate:a+b%3Ac%25%C3%A9"


def test_the_secret_is_in_no_repr() -> None:
    assert "hunter2" not in repr(Client("gate", "hunter2"))


@pytest.mark.parametrize("content", [b"s3cret", b"s3cret\n", b"  s3cret \r\n"])
def test_a_file_holds_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_client("gate", path) == Client("gate", "s3cret")


def test_a_file_that_everybody_may_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"s3cret")
    path.chmod(0o644)
    assert read_client("gate", path).open_to_all


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo", b"hunter2\0", b"hunter2\xff", b"x" * 4097])
def test_files_that_hold_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SecretFault) as caught:
        read_client("gate", path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "secret"
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    with pytest.raises(SecretFault):
        read_client("gate", path)
