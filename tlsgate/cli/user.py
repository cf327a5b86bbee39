"""tlsgate user: who is in a users file, and by which password. The password never comes from the command line."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from tlsgate.auth.edit import CannotEdit, added, changed, check_name, hashed, removed
from tlsgate.auth.passwd import read_users
from tlsgate.auth.rewrite import read, rewrite
from tlsgate.auth.users_file import UnusableFile
from tlsgate.dialogue.credentials import LONGEST_SECRET, Credentials, CredentialsError

DONE, NO = 0, 1


def execute(arguments: argparse.Namespace) -> int:
    """Do ``arguments.action``; gives the exit code."""
    path: Path = arguments.file
    try:
        if arguments.action == "list":
            return _list(path)
        check_name(arguments.name)
        return _ACTIONS[arguments.action](path, arguments.name)
    except CannotEdit as fault:
        about = str(path) if arguments.action == "list" else f"{path}: {arguments.name!a}"
        print(f"{about}: {fault}", file=sys.stderr)
    except UnusableFile as fault:
        print(f"{path}: {fault}", file=sys.stderr)
    except OSError as fault:
        print(f"{path}: {fault.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return NO


def _add(path: Path, name: str) -> int:
    text = hashed(_secret(name, twice=True))
    rewrite(path, lambda data: added(data, name, text), create=True)
    print(f"{name} is added")
    return DONE


def _passwd(path: Path, name: str) -> int:
    text = hashed(_secret(name, twice=True))
    rewrite(path, lambda data: changed(data, name, text))
    print(f"{name} has another password")
    return DONE


def _remove(path: Path, name: str) -> int:
    rewrite(path, lambda data: removed(data, name))
    print(f"{name} is removed")
    return DONE


def _verify(path: Path, name: str) -> int:
    hashes = read_users(read(path)).hashes
    if name not in hashes:
        raise CannotEdit("is not there, or its line can't be used")
    if (stored := hashes[name]) is None:
        raise CannotEdit("is locked")
    if not stored.matches(_secret(name, twice=False)):
        raise CannotEdit("the password is wrong")
    print("the password is right")
    return DONE


def _list(path: Path) -> int:
    users = read_users(read(path))
    for name, stored in users.hashes.items():
        print(name if stored is not None else f"{name}\tlocked")
    for fault in users.faults:
        print(f"{path}:{fault.line}: {fault.text}", file=sys.stderr)
    if more := users.faulty - len(users.faults):
        print(f"{path}: {more} more lines are faulty", file=sys.stderr)
    return DONE


_ACTIONS = {"add": _add, "passwd": _passwd, "remove": _remove, "verify": _verify}


def _secret(name: str, *, twice: bool) -> bytes:
    """A password from a terminal's prompt, or from the first line of standard input. Raises CannotEdit."""
    if sys.stdin.isatty():
        secret = _prompted(name, twice=twice)
    else:
        secret = sys.stdin.buffer.readline(LONGEST_SECRET + 3).removesuffix(b"\n").removesuffix(b"\r")
    try:
        return Credentials(name, secret).secret
    except CredentialsError as fault:
        raise CannotEdit(str(fault)) from None


def _prompted(name: str, *, twice: bool) -> bytes:
    try:
        secret = getpass.getpass(f"Password of {name}: ")
        if twice and getpass.getpass("Once more: ") != secret:
            raise CannotEdit("the two passwords differ")
        return secret.encode()
    except EOFError:
        raise CannotEdit("no password was given") from None
    except UnicodeError:
        raise CannotEdit("the password isn't UTF-8") from None
