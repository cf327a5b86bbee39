"""Changes to the text of a users file: every line of somebody else stays as it is, octet by octet."""

from __future__ import annotations

import codecs
import io
import secrets
from collections.abc import Iterator

from passlib.hash import argon2  # type: ignore[import-untyped]

from tlsgate.auth.hashes import read_hash
from tlsgate.auth.passwd import APP_PASSWORDS_ONLY, read_users
from tlsgate.auth.scram_shape import ITERATIONS, SALT, SCHEME
from tlsgate.dialogue.credentials import Credentials, CredentialsError
from tlsgate.dialogue.scram_secret import from_password, written

# RFC 9106's Argon2id by what OWASP holds to be the least: 19 MiB, where its default of 64 MiB would be taken for each
# login under way. bcrypt would look at 72 octets only.
_ARGON2ID = argon2.using(type="ID", time_cost=2, memory_cost=19456, parallelism=1)
ARGON2ID = "ARGON2ID"
SCHEMES = (ARGON2ID, SCHEME)
# A gateway takes a file that has become empty for one that somebody is about to write, and goes on with the old one.
NOBODY = b"# nobody\n"


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


def hashed(secret: bytes, scheme: str) -> str:
    """The secret as a line has it, by one of SCHEMES. Takes a moment, and 19 MiB. Raises CannotEdit."""
    if scheme == ARGON2ID:
        return f"{{ARGON2ID}}{_ARGON2ID.hash(secret)}"
    try:
        return written(from_password(secret.decode(), secrets.token_bytes(SALT), ITERATIONS))
    except UnicodeDecodeError:
        raise CannotEdit("a password for SCRAM must be UTF-8") from None
    except ValueError as fault:
        raise CannotEdit(f"the password can't be used by SCRAM: {fault}") from None


def scheme_of(data: bytes, name: str) -> str:
    """The one of SCHEMES for a new password of ``name``: who has logged in by SCRAM goes on so."""
    stored = read_users(data).hashes.get(name)
    return SCHEME if stored is not None and stored.scheme == SCHEME else ARGON2ID


def added(data: bytes, name: str, text: str) -> bytes:
    """With a line for ``name``, whose hash is ``text``, behind all others. Raises CannotEdit."""
    if any(_is_of(line, name) for line in _lines(data)):
        raise CannotEdit("is there already; `tlsgate user passwd` changes its password")
    between = b"" if data in (b"", codecs.BOM_UTF8) or data.endswith(b"\n") else b"\n"
    return _useful(data + between + f"{name}:{text}\n".encode(), name, text)


def changed(data: bytes, name: str, text: str) -> bytes:
    """With another hash for ``name``, and what is behind it in the line as before. Raises CannotEdit."""
    users = read_users(data)
    if name in users.hashes and not users.lets_in(name):
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
    return _bom(data) + b"".join(kept) or NOBODY


def _useful(data: bytes, name: str, text: str) -> bytes:
    """The same text. Raises CannotEdit if ``text`` isn't what lets ``name`` in by it."""
    users = read_users(data)
    if text == APP_PASSWORDS_ONLY:
        if name in users.app_passwords_only:
            return data
    elif users.hashes.get(name) == read_hash(text):
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
