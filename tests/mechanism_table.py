"""The documentation's tables of what can be judged, by source and by login, as the tests hold the gateway to them."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from pathlib import Path

from tlsgate.config import AuthSource, LoginMode

ROOT = Path(__file__).parent.parent
COMMAND = "command"
"""IMAP's LOGIN and POP3's USER and PASS, which are no SASL mechanism."""


class Cell(enum.Enum):
    """What a cell says; the value: the words by which it is known."""

    NO = "no"
    YES = "yes"
    HASH = "who has such a hash"
    CLIENT_CA = "with `tls.client_ca`"
    GIVEN = "with a password from `auth-http`"


class Shown(enum.Enum):
    """What a client shows, and by which mechanisms: the columns of the first table."""

    PASSWORD = (COMMAND, "PLAIN", "LOGIN")
    PROOF = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
    TOKEN = ("OAUTHBEARER", "XOAUTH2")
    CERTIFICATE = ("EXTERNAL",)


MECHANISMS = tuple(mechanism for shown in Shown for mechanism in shown.value)

BY_SOURCE = {
    AuthSource.BACKEND: (Cell.YES, Cell.NO, Cell.NO, Cell.NO),
    AuthSource.USERS_FILE: (Cell.YES, Cell.HASH, Cell.NO, Cell.CLIENT_CA),
    AuthSource.AUTH_HTTP: (Cell.YES, Cell.NO, Cell.NO, Cell.CLIENT_CA),
    AuthSource.OAUTH: (Cell.NO, Cell.NO, Cell.YES, Cell.CLIENT_CA),
}

LOGINS = (LoginMode.SAME, LoginMode.MASTER, LoginMode.STORED, LoginMode.NONE)
UNJUDGED = "a password that only the backend can judge"
BY_LOGIN = {
    UNJUDGED: (Cell.YES, Cell.NO, Cell.NO, Cell.NO),
    Shown.PASSWORD: (Cell.YES,) * 4,
    Shown.PROOF: (Cell.NO, Cell.YES, Cell.YES, Cell.YES),
    Shown.TOKEN: (Cell.NO, Cell.YES, Cell.YES, Cell.YES),
    Shown.CERTIFICATE: (Cell.GIVEN, Cell.YES, Cell.YES, Cell.YES),
}


def shown_by(mechanism: str) -> Shown:
    return next(shown for shown in Shown if mechanism in shown.value)


def by_sources(sources: tuple[AuthSource, ...], mechanism: str) -> Cell:
    """What a list of sources can judge is what one of them can."""
    at = list(Shown).index(shown_by(mechanism))
    return next((cell for each in sources if (cell := BY_SOURCE[each][at]) is not Cell.NO), Cell.NO)


def by_login(sources: tuple[AuthSource, ...], mechanism: str, login: LoginMode) -> Cell:
    """What can be done with it at a backend. Where the backend is a source, every login may be its own to judge."""
    shown: Shown | str = shown_by(mechanism)
    if AuthSource.BACKEND in sources and login is not LoginMode.SAME:
        return Cell.NO
    if shown is Shown.PASSWORD and sources == (AuthSource.BACKEND,):
        shown = UNJUDGED
    cell = BY_LOGIN[shown][LOGINS.index(login)]
    return Cell.NO if cell is Cell.GIVEN and AuthSource.AUTH_HTTP not in sources else cell


# -- as it is documented ---------------------------------------------------------------------------------


def documented(first: str, word: str) -> dict[str, dict[str, str]]:
    """The one table whose header begins with the cell ``first`` and has ``word``: by row, by column.

    It may be in any document. Raises LookupError.
    """
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))]
    found = [list(_rows(text, at)) for text in texts for at in _starts(text, first, word)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} tables begin with {first!r}")
    (_, *columns), _, *rows = found[0]
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in rows}


def read_cell(text: str) -> Cell:
    """Raises LookupError for words that no cell has."""
    for cell in (Cell.HASH, Cell.CLIENT_CA, Cell.GIVEN, Cell.NO, Cell.YES):
        if text.startswith(cell.value):
            return cell
    raise LookupError(text)


def _starts(text: str, first: str, word: str) -> Iterator[int]:
    for at, line in enumerate(text.splitlines()):
        if line.startswith(f"| {first} |") and word in line:
            yield at


def _rows(text: str, start: int) -> Iterator[list[str]]:
    for line in text.splitlines()[start:]:
        if not line.startswith("|"):
            return
        yield [each.strip() for each in line.strip().strip("|").split("|")]
