"""The text of a users file: Dovecot's passwd-file lines and Apache's htpasswd lines, "user:hash[:…]"."""

from __future__ import annotations

import codecs
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from tlsgate.auth.hashes import Kind, PasswordHash, is_locked, read_hash
from tlsgate.auth.scram_shape import typical_shape
from tlsgate.dialogue.credentials import Credentials, CredentialsError
from tlsgate.dialogue.scram_secret import ScramSecret

APP_PASSWORDS_ONLY = "{APP-PASSWORDS-ONLY}"
"""In the place of a hash: only app passwords let this user in. Other readers of the file take it for a lock."""
MOST_FAULTS = 100
_LONGEST_LINE = 8192
_EXTRA = 7  # user, hash, uid, gid, gecos, home, shell come first


class Fault(Struct, frozen=True):
    """What is wrong with a line, or (``line`` 0) with the file. ``text`` shows nothing of the line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Users:
    """``hashes``: by user name, None for one without a password. ``faults``: the first MOST_FAULTS of ``faulty`` lines.

    ``app_passwords_only``: those of the users without a password who aren't locked. ``dummy``: a hash of the kind that
    is the most common, None if there is no hash at all. ``weak``: how many hashes of a scheme are weak, by its name.
    ``scram_shape``: what decoys must look like. ``let_in``: how many users can log in.
    """

    hashes: Mapping[str, PasswordHash | None] = field(repr=False)
    app_passwords_only: frozenset[str] = field(repr=False)
    dummy: PasswordHash | None
    weak: Mapping[str, int]
    scram_shape: ScramSecret
    faults: tuple[Fault, ...]
    faulty: int
    let_in: int

    def __reduce__(self) -> tuple[type[Users], tuple[object, ...]]:
        """For a process that only admits connections: what is wrong with the file, and nobody's hash."""
        return Users, ({}, frozenset(), None, self.weak, self.scram_shape, self.faults, self.faulty, self.let_in)

    def lets_in(self, user: str) -> bool:
        """Whether a user is there and isn't locked."""
        return self.hashes.get(user) is not None or user in self.app_passwords_only


def read_users(data: bytes) -> Users:
    """What a users file says. A faulty line is left out; of lines for the same user, the first counts."""
    hashes: dict[str, PasswordHash | None] = {}
    app_passwords_only: set[str] = set()
    lines: dict[str, int] = {}
    faults: list[Fault] = []
    faulty = 0
    for number, line in enumerate(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)), start=1):
        line = line.rstrip(b"\r\n")
        if not line.strip() or line.startswith(b"#"):
            continue
        try:
            user, found = _entry(line)
            if (taken := lines.setdefault(user, number)) != number:
                raise ValueError(f"its user is that of line {taken}, which counts")
            if found == APP_PASSWORDS_ONLY:
                app_passwords_only.add(user)
            hashes[user] = found if isinstance(found, PasswordHash) else None
        except ValueError as fault:
            faulty += 1
            if len(faults) < MOST_FAULTS:
                faults.append(Fault(number, str(fault)))
    good = [each for each in hashes.values() if each is not None]
    weak = Counter(each.scheme for each in good if each.weak)
    return Users(
        hashes,
        frozenset(app_passwords_only),
        _typical(good),
        dict(weak),
        typical_shape(good),
        tuple(faults),
        faulty,
        len(good) + len(app_passwords_only),
    )


def _entry(line: bytes) -> tuple[str, PasswordHash | str | None]:
    """One line's user and hash, or APP_PASSWORDS_ONLY, or None for one who is locked. Raises ValueError."""
    if len(line) > _LONGEST_LINE:
        raise ValueError(f"it is longer than {_LONGEST_LINE} octets")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("it isn't UTF-8") from None
    user, colon, rest = text.partition(":")
    if not colon:
        raise ValueError("it isn't user:hash")
    try:
        Credentials(user, b"any")
    except CredentialsError as fault:
        raise ValueError(f"nobody can log in so: {fault}") from None
    password, *others = rest.split(":")
    extra = ":".join(others[_EXTRA - 2 :]).split()
    if any(each.startswith("allow_") for each in extra):
        raise ValueError("it allows some networks only (allow_nets), which isn't looked at here")
    if any(each.partition("=")[0] == "nologin" for each in extra):
        return user, None
    if password.upper() == APP_PASSWORDS_ONLY:
        return user, APP_PASSWORDS_ONLY
    return user, None if is_locked(password) else read_hash(password)


def _typical(hashes: Iterable[PasswordHash]) -> PasswordHash | None:
    counted: Counter[Kind] = Counter()
    first: dict[Kind, PasswordHash] = {}
    for each in hashes:
        counted[each.kind] += 1
        first.setdefault(each.kind, each)
    return first[counted.most_common(1)[0][0]] if counted else None
