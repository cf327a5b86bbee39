"""The user map: which user's mail is in which pool, and under which name. A line a user, such as:

    ann@example.org  imap=imap2 submission=smtp2 as=ann.old     # a comment

A name's ASCII letters are the same in either case, as for ``[[routes]]``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from msgspec import Struct

from tlsgate.auth.followed import UnusableFile, read_file, stamp_of
from tlsgate.auth.line_table import Lines, LineTable
from tlsgate.auth.master import Master, UnfitName
from tlsgate.config import WITH_USERS, Config, LoginMode, Pool, Protocol, mapped_pools
from tlsgate.config.fault import shown
from tlsgate.dialogue.credentials import Credentials, CredentialsError

_COMMENT = re.compile(rb"(?:\A|[ \t])#.*")
_AS = "as"
_KEYS = frozenset({*WITH_USERS, _AS})

# The pools that a line may name, by protocol; each with its master user, by whom a name must be fit to be opened.
Fit = Mapping[Protocol, Mapping[str, Master | None]]


class Place(Struct, frozen=True):
    """Where a user's mail is. ``pool`` None: the listener's. ``name``: the user's there, "" for its own."""

    pool: str | None = None
    name: str = ""


class UserMap(Lines, frozen=True):
    """A map as it was read."""

    def place(self, user: str, protocol: Protocol) -> Place:
        """What it says of ``user``."""
        line = self.table.find(user.encode().lower())  # of bytes: ASCII's letters alone
        if line is None:
            return Place()
        said = _pairs(line)
        return Place(said.get(protocol), said.get(_AS, ""))


def fit_pools(settings: Config) -> Fit:
    """The pools that a line may name."""
    return {each: {name: _master(settings.pools[name]) for name in mapped_pools(settings, each)} for each in WITH_USERS}


def _master(pool: Pool) -> Master | None:
    return Master(pool.master_user, pool.master_separator, b"any") if pool.login is LoginMode.MASTER else None


def load(path: Path, fit: Fit) -> UserMap:
    """Read the whole file. A faulty line is left out. Raises UnusableFile. Not for the trio loop."""
    try:
        data, facts = read_file(path)
    except OSError as error:
        raise UnusableFile(str(error.strerror)) from None
    return UserMap(path, LineTable(data, partial(_check, fit), _user), len(data), stamp_of(facts))


def _user(line: bytes) -> bytes:
    return line.split(None, 1)[0].lower()


def _check(fit: Fit, line: bytes) -> bytes:
    """The user of a good line, b"" if there is none. Raises ValueError."""
    line = _COMMENT.sub(b"", line)
    if not line.strip():
        return b""
    user = _user(line)
    try:
        Credentials(user.decode(), b"any")
        said = _pairs(line)
    except UnicodeDecodeError:
        raise ValueError("it isn't UTF-8") from None
    except CredentialsError as fault:
        raise ValueError(f"nobody can log in so: {fault}") from None
    if not said:
        raise ValueError("it says nothing of its user; write user imap=POOL, pop3=, submission= or as=NAME")
    for protocol in WITH_USERS:
        if (pool := said.get(protocol)) is not None and pool not in fit[protocol]:
            raise ValueError(f"pool {shown(pool)} isn't there, or nothing says that it is for {protocol}")
    if _AS in said:
        try:
            Credentials(said[_AS], b"any")
        except CredentialsError as fault:
            raise ValueError(f"no backend takes its name: {fault}") from None
        _check_masters(fit, said)
    return user


def _check_masters(fit: Fit, said: Mapping[str, str]) -> None:
    """Whether the ``as`` name can be opened in the pools that are named, or in any if none is. Raises ValueError."""
    name, why = said[_AS], ""
    if named := [fit[each][said[each]] for each in WITH_USERS if each in said]:
        why = next(filter(None, (_unfit(name, each) for each in named)), "")
    else:
        for each in (each for pools in fit.values() for each in pools.values()):
            if not (why := _unfit(name, each)):
                return
    if why:
        raise ValueError(f"no master user can open its name: {why}")


def _unfit(name: str, master: Master | None) -> str:
    try:
        if master is not None:
            master.login_as(name)
    except UnfitName as unfit:
        return str(unfit)
    return ""


def _pairs(line: bytes) -> dict[str, str]:
    """What a line says behind its user's name. Raises ValueError."""
    said: dict[str, str] = {}
    for octets in _COMMENT.sub(b"", line).split()[1:]:
        each = octets.decode()
        key, equals, value = each.partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(f"{shown(each)} isn't imap=POOL, pop3=POOL, submission=POOL or as=NAME")
        if not value or key in said:
            raise ValueError(f"{key} is {'said twice' if key in said else 'empty'}")
        said[key] = value
    return said
