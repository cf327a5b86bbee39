"""What comes of a check, as values."""

from __future__ import annotations

import enum

from msgspec import Struct


class Result(enum.StrEnum):
    """RFC 7208 2.6; also the words of both headers (RFC 7208 9.1, RFC 8601 2.7.2)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - the RFC's word
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Identity(enum.StrEnum):
    """Whose name was checked (RFC 7208 2.3 and 2.4), in the words of RFC 7208 9.1 and RFC 8601 2.7.2."""

    MAIL_FROM = "mailfrom"
    HELO = "helo"


class SpfResult(Struct, frozen=True):
    """What check_host() says. All texts are printable ASCII and short, but strangers have chosen parts of them.

    ``mechanism``: the directive that matched, "default" when none did, "" without an evaluated record; of the checked
    domain's record or of the one that redirect= led to. ``explanation``: what exp= of a failing domain says (RFC 7208
    6.2), else "". ``problem``: why the result is none, temperror or permerror.
    """

    result: Result
    mechanism: str = ""
    explanation: str = ""
    problem: str = ""
