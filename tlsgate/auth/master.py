"""A backend's master user, who may open everybody's mailbox: with whose credentials we log in for a user."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsgate.auth.user_names import UnfitName
from tlsgate.config import Pool
from tlsgate.dialogue.credentials import LONGEST_SECRET, Credentials, CredentialsError
from tlsgate.secret_file import UnusableSecret, read_secret_file

__all__ = ["Master", "MasterFault", "UnfitName", "read_master"]


class MasterFault(Exception):
    """A pool whose master user can't be used. The text says why, and nothing of the password."""


@dataclass(frozen=True, slots=True)
class Master:
    """``separator``: "" sends the user as SASL authzid. ``open_to_all``: everybody on the host may read the file."""

    user: str
    separator: str
    secret: bytes = field(repr=False)
    open_to_all: bool = False

    def login_as(self, user: str) -> tuple[Credentials, str]:
        """The credentials that open ``user``'s mailbox, and the identity to act as. Raises UnfitName."""
        if self.separator and self.separator in user:
            # A backend would cut it there: "ann*bob" is ann, opened by the master "bob*…".
            raise UnfitName("the user name holds the master separator")
        try:
            if not self.separator:
                return Credentials(self.user, self.secret, user), user
            return Credentials(f"{user}{self.separator}{self.user}", self.secret), ""
        except CredentialsError as fault:
            raise UnfitName(str(fault)) from None


def read_master(pool: Pool) -> Master:
    """The master user of a pool that has one. Raises MasterFault. Reads a file: not for the trio loop."""
    if pool.master_password_file is None:
        raise MasterFault("is missing")
    try:
        file = read_secret_file(pool.master_password_file, LONGEST_SECRET + 2)
        secret = file.data.removesuffix(b"\n").removesuffix(b"\r")
        Credentials(pool.master_user, secret)
    except UnusableSecret as fault:
        raise MasterFault(str(fault)) from None
    except CredentialsError as fault:
        raise MasterFault(f"holds no password that can be sent: {fault}") from None
    return Master(pool.master_user, pool.master_separator, secret, file.open_to_all)
