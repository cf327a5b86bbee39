"""Changes to the text of a users file: every line of somebody else stays as it is, octet by octet."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from passlib.hash import argon2  # type: ignore[import-untyped]

from tlsgate.auth.hashes import read_hash
from tlsgate.auth.passwd import read_users
from tlsgate.dialogue.credentials import Credentials, CredentialsError

# RFC 9106's Argon2id by what OWASP holds to be the least: 19 MiB, where its default of 64 MiB would be taken for each
# login under way. bcrypt would look at 72 octets only.
_ARGON2ID = argon2.using(type="ID", time_cost=2, memory_cost=19456, parallelism=1)
# A gateway takes a file that has become empty for one that somebody is about to write, and goes on with the old one.
_NOBODY = b"# nobody\n"


class CannotEdit(Exception):
    """A change that can't be made. The text says why, and shows no secret."""


def check_name(name: str) -> None:
    """Raises CannotEdit: no line can be this user's, or nobody can log in by that name."""
    try:
        name.encode()
        Credentials(name, b"any")
    except (CredentialsError, UnicodeEncodeError) as fault:
        why = str(fault) if isinstance(fault, CredentialsError) else "it isn't UTF-8"
        raise CannotEdit(f"nobody can log in by that name: {why}") from None
    if ":" in name or name.startswith(("#", "\ufeff")):
        raise CannotEdit('no line of a users file can have a name with ":" in it, or "#" before it')


def hashed(secret: bytes) -> str:
    """The secret as a line has it. Takes a moment, and 19 MiB."""
    return f"{{ARGON2ID}}{_ARGON2ID.hash(secret)}"


def added(data: bytes, name: str, text: str) -> bytes:
    """With a line for ``name``, whose hash is ``text``, behind all others. Raises CannotEdit."""
    if any(_is_of(line, name) for line in _lines(data)):
        raise CannotEdit("is there already; `tlsgate user passwd` changes its password")
    between = b"" if data in (b"", codecs.BOM_UTF8) or data.endswith(b"\n") else b"\n"
    return _useful(data + between + f"{name}:{text}\n".encode(), name, text)


def changed(data: bytes, name: str, text: str) -> bytes:
    """With another hash for ``name``, and what is behind it in the line as before. Raises CannotEdit."""
    hashes = read_users(data).hashes
    if name in hashes and hashes[name] is None:
        raise CannotEdit("is locked; take the lock out of the line first")
    lines = list(_lines(data))
    at = next((at for at, line in enumerate(lines) if _is_of(line, name)), None)
    if at is None:
        raise CannotEdit("is not there")
    _, was, *more = lines[at].split(b":", 2)
    end = b"" if more else was[len(was.rstrip(b"\r\n")) :]
    lines[at] = b":".join((name.encode(), text.encode() + end, *more))
    return _useful(_bom(data) + b"".join(lines), name, text)


def removed(data: bytes, name: str) -> bytes:
    """Without any line for ``name``: of two, the second would count then. Raises CannotEdit."""
    lines = list(_lines(data))
    kept = [line for line in lines if not _is_of(line, name)]
    if len(kept) == len(lines):
        raise CannotEdit("is not there")
    return _bom(data) + b"".join(kept) or _NOBODY


def _useful(data: bytes, name: str, text: str) -> bytes:
    """The same text. Raises CannotEdit if ``text`` isn't what lets ``name`` in by it."""
    users = read_users(data)
    if users.hashes.get(name) == read_hash(text):
        return data
    number = next(number for number, line in enumerate(_lines(data), start=1) if _is_of(line, name))
    fault = next((each.text for each in users.faults if each.line == number), "it can't be used")
    raise CannotEdit(f"would not be let in by line {number}: {fault}")


def _bom(data: bytes) -> bytes:
    return codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines with their ends, as ``read_users`` sees them."""
    return iter(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)))


def _is_of(line: bytes, name: str) -> bool:
    return line.startswith(name.encode() + b":")
