"""What the log is told of files that change while they are served, and the source that goes by the most of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tlsgate.auth.followed import Followed
from tlsgate.auth.line_table import Lines
from tlsgate.ops.log import EventLog
from tlsgate.prepared import Prepared, app_passwords_remarks, line_remarks, users_file_remarks
from tlsgate.tls.validity import Remark

if TYPE_CHECKING:
    from tlsgate.auth.app_passwords_file import AppContent
    from tlsgate.auth.app_passwords_used import LastUses
    from tlsgate.auth.users_file import Content, UsersFile

_Read = TypeVar("_Read")


def users_source(
    prepared: Prepared, content: Content, log: EventLog, changed: Callable[[], None]
) -> tuple[UsersFile, LastUses]:
    """The source, and the last uses of its app passwords. ``changed``: is told that somebody's password may be."""
    from tlsgate.auth.app_passwords_used import LastUses  # as in prepared: only where there is one
    from tlsgate.auth.decoy_key import DecoyKey
    from tlsgate.auth.users_file import UsersFile

    directory, path = prepared.settings.server.state_directory, prepared.settings.auth.users_file or Path()

    def reread(found: Content | str) -> None:
        changed()
        _tell("users_file", path, log, lambda read: len(read.users.hashes), partial(users_file_remarks, path), found)

    uses = LastUses(directory, partial(_fault, log, "app_passwords_fault"))
    key = DecoyKey(directory, partial(_fault, log, "scram_key_fault"))
    apps = _app_passwords(prepared, log, changed)
    return UsersFile(path, content, reread, app_passwords=apps, last_uses=uses, decoy_key=key), uses


def _app_passwords(prepared: Prepared, log: EventLog, changed: Callable[[], None]) -> Followed[AppContent] | None:
    path, content = prepared.settings.auth.app_passwords_file, prepared.app_passwords
    if path is None or content is None:
        return None
    from tlsgate.auth import app_passwords_file

    remarks = partial(app_passwords_remarks, path)

    def reread(found: AppContent | str) -> None:
        changed()
        _tell("app_passwords", path, log, lambda read: len(read.passwords.by_user), remarks, found)

    return Followed(path, content, app_passwords_file.load_app_passwords, reread)


def told_of_lines(event: str, path: Path, log: EventLog) -> Callable[[Lines | str], None]:
    """What is told of a file of users' lines; ``event``: as its faults' is called, without "_fault"."""
    remarks: Callable[[Lines], Iterable[Remark]] = partial(line_remarks, f"{event}_fault")
    return partial(_tell, event, path, log, lambda read: read.table.count, remarks)


def _tell(
    event: str,
    path: Path,
    log: EventLog,
    users: Callable[[_Read], int],
    remarks: Callable[[_Read], Iterable[Remark]],
    found: _Read | str,
) -> None:
    if isinstance(found, str):
        log.emit(f"{event}_fault", "warning", about=str(path), reason=f"{found}; what was read before counts")
        return
    wrong = list(remarks(found))
    log.emit(event, path=str(path), users=users(found), remarks=len(wrong))
    for remark in wrong:
        log.emit(remark.event, "warning", about=remark.about, reason=remark.text)


def _fault(log: EventLog, event: str, reason: str) -> None:
    log.emit(event, "warning", reason=reason)
