"""New app passwords, and changes to the text of their file: every other line stays as it is, octet by octet."""

from __future__ import annotations

import base64
import codecs
import hashlib
import io
import secrets
from collections.abc import Iterator, Sequence
from datetime import date

from tlsgate.auth.app_passwords import PROTOCOLS, SCHEME, plain, read_app_passwords, read_line
from tlsgate.auth.edit import NOBODY, CannotEdit
from tlsgate.config import Network, Protocol

# Without those that are taken for one another: 32, so that a letter is worth five bits.
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 5, 4  # 100 bits
_SALT = 16


def new_password() -> str:
    """A random one, in groups for reading."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))


def new_line(
    user: str, label: str, password: str, created: date, protocols: frozenset[Protocol], networks: Sequence[Network]
) -> str:
    """The line of a file for it. Raises CannotEdit."""
    salt = secrets.token_bytes(_SALT)
    stored = base64.b64encode(hashlib.sha256(plain(password.encode()) + salt).digest() + salt).decode()
    names = ",".join(each for each in PROTOCOLS if each in protocols)
    line = f"{user}:{label}:{SCHEME}{stored}:{created.isoformat()}:{names}:{','.join(map(str, networks))}"
    try:
        read_line(line.encode())
    except ValueError as fault:
        raise CannotEdit(f"can't be written: {fault}") from None
    return line


def added(data: bytes, user: str, label: str, line: str) -> bytes:
    """With ``line`` behind all others. Raises CannotEdit."""
    if any(_is_of(each, user, label) for each in _lines(data)):
        raise CannotEdit(f"has one of label {label!a} already; `tlsgate user app-password remove` takes it away")
    between = b"" if data in (b"", codecs.BOM_UTF8) or data.endswith(b"\n") else b"\n"
    new = data + between + line.encode() + b"\n"
    read = read_app_passwords(new)
    if not any(each.label == label for each in read.by_user.get(user, ())):
        fault = read.faults[-1].text if read.faulty <= len(read.faults) and read.faults else "it can't be used"
        raise CannotEdit(f"would not be let in by it: {fault}")
    return new


def removed(data: bytes, user: str, label: str) -> bytes:
    """Without any line of that label. Raises CannotEdit."""
    lines = list(_lines(data))
    kept = [line for line in lines if not _is_of(line, user, label)]
    if len(kept) == len(lines):
        raise CannotEdit(f"has none of label {label!a}")
    bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    return bom + b"".join(kept) or NOBODY


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines with their ends, as ``read_app_passwords`` sees them."""
    return iter(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)))


def _is_of(line: bytes, user: str, label: str) -> bool:
    return line.startswith(f"{user}:{label}:".encode())
