"""The file of app passwords as it was read; followed like the users file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tlsgate.auth.app_passwords import AppPasswords, read_app_passwords
from tlsgate.auth.followed import Stamp, UnusableFile, read_file, stamp_of
from tlsgate.auth.passwd import Fault
from tlsgate.secret_file import CLOSE_IT, open_to_all


class AppContent(Struct, frozen=True):
    """Of so many ``octets``. ``open_to_all``: everybody on the host may read it."""

    passwords: AppPasswords
    octets: int
    stamp: Stamp
    open_to_all: bool

    def remarks(self) -> Iterator[Fault]:
        """What is wrong with the file, though it is used."""
        if self.open_to_all:
            yield Fault(0, f"everybody on this host can read the hashes; {CLOSE_IT}")
        yield from self.passwords.faults
        if more := self.passwords.faulty - len(self.passwords.faults):
            yield Fault(0, f"{more} more lines are faulty")


def load_app_passwords(path: Path) -> AppContent:
    """Read the whole file. Raises UnusableFile. Not for the trio loop."""
    try:
        data, facts = read_file(path)
    except OSError as error:
        raise UnusableFile(str(error.strerror)) from None
    return AppContent(read_app_passwords(data), len(data), stamp_of(facts), open_to_all(facts))
