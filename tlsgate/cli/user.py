"""tlsgate user: who is in a users file, and by which password. The password never comes from the command line."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from tlsgate.auth.edit import ARGON2ID, CannotEdit, added, changed, check_name, hashed, removed, scheme_of
from tlsgate.auth.followed import UnusableFile
from tlsgate.auth.passwd import APP_PASSWORDS_ONLY, read_users
from tlsgate.auth.rewrite import read, rewrite
from tlsgate.cli import user_app_password
from tlsgate.dialogue.credentials import LONGEST_SECRET, Credentials, CredentialsError

DONE, NO = 0, 1


def execute(arguments: argparse.Namespace) -> int:
    """Do ``arguments.action``; gives the exit code."""
    path: Path = arguments.file
    try:
        if arguments.action == "list":
            return _list(path)
        if arguments.name is not None:
            check_name(arguments.name)
        return _ACTIONS[arguments.action](path, arguments)
    except CannotEdit as fault:
        about = "" if arguments.name is None else f"{arguments.name!a}: "
        print(f"{path}: {about}{fault}", file=sys.stderr)
    except UnusableFile as fault:
        print(f"{path}: {fault}", file=sys.stderr)
    except OSError as fault:
        print(f"{path}: {fault.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return NO


def _add(path: Path, arguments: argparse.Namespace) -> int:
    name = arguments.name
    text = _new(arguments, arguments.scheme or ARGON2ID)
    rewrite(path, lambda data: added(data, name, text), create=True)
    print(f"{name} is added")
    return DONE


def _passwd(path: Path, arguments: argparse.Namespace) -> int:
    name = arguments.name
    text = _new(arguments, arguments.scheme or scheme_of(read(path), name))
    rewrite(path, lambda data: changed(data, name, text))
    print(f"{name} has {'app passwords only' if text == APP_PASSWORDS_ONLY else 'another password'}")
    return DONE


def _new(arguments: argparse.Namespace, scheme: str) -> str:
    """What the line has in the place of the hash. Raises CannotEdit."""
    if arguments.app_passwords_only:
        return APP_PASSWORDS_ONLY
    return hashed(_secret(arguments.name, twice=True), scheme)


def _remove(path: Path, arguments: argparse.Namespace) -> int:
    name = arguments.name
    rewrite(path, lambda data: removed(data, name))
    print(f"{name} is removed")
    return DONE


def _verify(path: Path, arguments: argparse.Namespace) -> int:
    users, name = read_users(read(path)), arguments.name
    if name not in users.hashes:
        raise CannotEdit("is not there, or its line can't be used")
    if (stored := users.hashes[name]) is None:
        raise CannotEdit("has app passwords only" if users.lets_in(name) else "is locked")
    if not stored.matches(_secret(name, twice=False)):
        raise CannotEdit("the password is wrong")
    print("the password is right")
    return DONE


def _list(path: Path) -> int:
    users = read_users(read(path))
    for name, stored in users.hashes.items():
        if stored is None:
            print(f"{name}\t{'app passwords only' if users.lets_in(name) else 'locked'}")
        else:
            print(f"{name}\tweak: {{{stored.scheme}}}" if stored.weak else name)
    for fault in users.faults:
        print(f"{path}:{fault.line}: {fault.text}", file=sys.stderr)
    if more := users.faulty - len(users.faults):
        print(f"{path}: {more} more lines are faulty", file=sys.stderr)
    return DONE


_ACTIONS = {
    "add": _add,
    "passwd": _passwd,
    "remove": _remove,
    "verify": _verify,
    "app-password": user_app_password.execute,
}


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
