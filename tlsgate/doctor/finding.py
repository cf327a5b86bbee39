"""What an examination finds."""

from __future__ import annotations

import enum

from msgspec import Struct


class Severity(enum.StrEnum):
    """PROBLEM: harm is done or mail is lost; WARNING: it may be; NOTE: nothing to do."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


class Finding(Struct, frozen=True):
    """``about``: what was examined. ``what`` was found, ``why`` it matters, and what to ``do``; all for people."""

    about: str
    severity: Severity
    what: str
    why: str = ""
    do: str = ""
