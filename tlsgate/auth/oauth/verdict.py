"""What can be said of an access token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from tlsgate.dialogue.access_token import TokenError


@dataclass(frozen=True, slots=True)
class Valid:
    """``user``: fit to be a user name. ``expires``: in Unix time. ``claims``: those that were asked for and are text.

    Good until then as often as it is shown: a mail client logs in with the same token again and again, so a ``jti``
    isn't held against it.
    """

    user: str
    expires: float
    claims: Mapping[str, str] = field(default_factory=dict, repr=False)


class Invalid(Struct, frozen=True):
    """``reason``: for the log; it shows nothing of the token. ``error``: for the client."""

    reason: str
    error: TokenError = TokenError.INVALID_TOKEN


class Unavailable(Struct, frozen=True):
    """Whether it is good can't be said now. ``reason``: for the log."""

    reason: str


Verdict = Valid | Invalid | Unavailable
