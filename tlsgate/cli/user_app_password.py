"""tlsgate user app-password: passwords that are made here, each for one device or program of a user's."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from tlsgate.auth.app_passwords import AppPassword, check_label, read_app_passwords, read_networks, read_protocols
from tlsgate.auth.app_passwords_edit import added, new_line, new_password, removed
from tlsgate.auth.app_passwords_used import Uses, read_last_uses
from tlsgate.auth.edit import CannotEdit
from tlsgate.auth.rewrite import read, rewrite
from tlsgate.config import ConfigError, load

DONE = 0


def execute(path: Path, arguments: argparse.Namespace) -> int:
    """Do ``arguments.step`` in the file of app passwords. Raises CannotEdit, UnusableFile, OSError."""
    match arguments.step:
        case "add":
            _add(path, arguments)
        case "remove":
            rewrite(path, lambda data: removed(data, arguments.name, arguments.label))
            print(f"{arguments.name} has no app password {arguments.label} any more")
        case _:
            _list(path, arguments.name, _last_uses(arguments))
    return DONE


def _add(path: Path, arguments: argparse.Namespace) -> None:
    name, label, password = arguments.name, arguments.label, new_password()
    try:
        check_label(label)
        protocols, networks = read_protocols(arguments.protocols), read_networks(arguments.networks)
    except ValueError as fault:
        raise CannotEdit(str(fault)) from None
    line = new_line(name, label, password, datetime.now(UTC).date(), protocols, networks)
    rewrite(path, lambda data: added(data, name, label, line), create=True)
    print(password)


def _last_uses(arguments: argparse.Namespace) -> Uses | None:
    """When each was used, None if nobody has said where that is noted. Raises CannotEdit, UnusableFile, OSError."""
    directory = arguments.state_directory
    if arguments.config is not None:
        try:
            directory = load(arguments.config.absolute()).server.state_directory
        except ConfigError as fault:
            raise CannotEdit(str(fault)) from None
        if directory is None:
            raise CannotEdit(f"{arguments.config} has no server.state_directory, where it would be noted")
    return None if directory is None else read_last_uses(directory)


def _list(path: Path, only: str | None, uses: Uses | None) -> None:
    passwords = read_app_passwords(read(path))
    for user, own in passwords.by_user.items():
        for each in own if only in (None, user) else ():
            print("\t".join((user, *_facts(each), *(() if uses is None else (_used(uses, user, each),)))))
    for fault in passwords.faults:
        print(f"{path}:{fault.line}: {fault.text}", file=sys.stderr)
    if more := passwords.faulty - len(passwords.faults):
        print(f"{path}: {more} more lines are faulty", file=sys.stderr)


def _facts(each: AppPassword) -> tuple[str, ...]:
    networks = ",".join(map(str, each.networks)) or "everywhere"
    return each.label, f"made {each.created}", ",".join(sorted(each.protocols)) or "all protocols", networks


def _used(uses: Uses, user: str, each: AppPassword) -> str:
    used = uses.get((user, each.label))
    # One of before was of another that had this label.
    return f"used {used:%Y-%m-%d %H:%M} UTC" if used and used.date() >= each.created else "never used"
