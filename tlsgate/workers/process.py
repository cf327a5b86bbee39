"""What this process may do: whom it runs as, how many descriptors it may have."""

from __future__ import annotations

import os
import pwd
import resource


class CannotStart(Exception):
    """A good config that can't be served here: a port is taken, a user is missing. The text says which and why."""


def drop_privileges(user: str) -> None:
    """Become ``user`` for good, with its groups and no others; "" stays who we are. Raises CannotStart."""
    if not user:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise CannotStart(f"server.user: there is no user {user!r} on this host") from None
    if os.geteuid() == entry.pw_uid:
        return
    try:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise CannotStart(f"server.user: only root can become {user!r}; start as root or as that user") from None


def raise_descriptor_limit() -> int:
    """Take as many descriptors as the hard limit allows; gives how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
