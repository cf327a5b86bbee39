"""What this process may do: whom it runs as, how many descriptors it may have."""

from __future__ import annotations

import os
import pwd
import resource
import sys

# A session has a socket to its client and one to a backend; the others are for what isn't a session.
_DESCRIPTORS_A_SESSION, _DESCRIPTORS_BESIDE = 2, 100


class CannotStart(Exception):
    """A good config that can't be served here: a port is taken, a user is missing. The text says which and why."""


def user_id(user: str) -> int:
    """The id of a user of this host; -1 for "". Raises CannotStart."""
    return _entry(user).pw_uid if user else -1


def drop_privileges(user: str) -> None:
    """Become ``user`` for good, with its groups and no others; "" stays who we are. Raises CannotStart."""
    if not user:
        return
    entry = _entry(user)
    if os.geteuid() == entry.pw_uid:
        return
    try:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise CannotStart(f"server.user: only root can become {user!r}; start as root or as that user") from None


def worker_count(workers: int | str) -> int:
    """How many processes serve, for [server] workers; "auto": one for each core that we may use."""
    return workers if isinstance(workers, int) else len(os.sched_getaffinity(0))


def raise_descriptor_limit() -> int:
    """Take as many descriptors as the hard limit allows; gives how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def sessions_within(descriptors: int) -> int:
    """How many sessions so many descriptors are enough for, at least one."""
    return max(1, (descriptors - _DESCRIPTORS_BESIDE) // _DESCRIPTORS_A_SESSION)


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise CannotStart(f"server.user: there is no user {user!r} on this host") from None
