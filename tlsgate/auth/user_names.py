"""User names, as they are known here and as a backend is shown them."""

from __future__ import annotations

from tlsgate.dialogue.credentials import LONGEST_USER


class UnfitName(Exception):
    """A user for whom no login can be made. The text says why."""


def full_name(user: str, default_domain: str) -> str:
    """The name that sources, routes, limits and logs know a user by: with ``default_domain`` ("": none) if it has none.

    The default domain in another case is written as it is in the config, so that one user has one name; nothing else of
    a name that has an "@" anywhere is touched. A name that would get too long stays as it is, and is nobody's.
    """
    if not user or not default_domain:
        return user
    local, at, domain = user.rpartition("@")
    if not at:
        full = f"{user}@{default_domain}"
        return full if len(full) <= LONGEST_USER else user
    # Letters beyond ASCII are other letters, also the Kelvin sign, whose lower case is "k".
    if local and "@" not in local and domain.isascii() and domain.lower() == default_domain.lower():
        return f"{local}@{default_domain}"
    return user


def backend_name(user: str, strip_domain: bool, given: str = "") -> str:
    """The name that a pool's backends are shown. ``given``: the one that the user map has, as it is. Raises UnfitName.

    A name that can be cut in more than one way may be another user's at the backend.
    """
    if given or not strip_domain or "@" not in user:
        return given or user
    local, _, domain = user.partition("@")
    if not local.strip() or not domain or "@" in domain:
        raise UnfitName("the user name isn't one local part and one domain")
    return local
