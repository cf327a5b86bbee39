"""What this process may do: whom it runs as, what it has given up, how many descriptors it may have."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import sys

# A session has a socket to its client and one to a backend; the others are for what isn't a session.
_DESCRIPTORS_A_SESSION, _DESCRIPTORS_BESIDE = 2, 100

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # prctl(2)


class CannotStart(Exception):
    """A good config that can't be served here: a port is taken, a user is missing. The text says which and why."""


def user_id(user: str) -> int:
    """The id of a user of this host; -1 for "". Raises CannotStart."""
    return _entry(user).pw_uid if user else -1


def give_up() -> None:
    """For good, and for every child: rights by what is executed, and dumps of memory. Raises CannotStart.

    Dumps hold keys and passwords. Who isn't root can't read the memory from outside either, under our own id or not.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)  # the limit says nothing to a kernel that pipes dumps to a program (core(5))


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
    _prctl(_PR_SET_DUMPABLE, 0)  # another user, another value: that of fs.suid_dumpable
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise CannotStart(f"server.user: {user!r} could become root again here; start without securebits")


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


def _prctl(option: int, value: int) -> None:
    library, long = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong
    if library.prctl(option, long(value), long(0), long(0), long(0)):
        raise CannotStart(f"prctl({option}, {value}): {os.strerror(ctypes.get_errno())}")
