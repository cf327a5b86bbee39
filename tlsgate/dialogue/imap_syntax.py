"""IMAP's grammar as far as a client may use it before login (RFC 9051 9, RFC 3501 9): a cursor over one command."""

from __future__ import annotations

import re

from msgspec import Struct

TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]{1,64}")
_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_SPACES = re.compile(rb" +")
_NIL = re.compile(rb"NIL", re.IGNORECASE)
_QUOTED = re.compile(rb'"((?:[^\x00\r\n"\\]|\\["\\])*)"')
_ESCAPED = re.compile(rb'\\(["\\])')
_SPECIAL = re.compile(rb'(["\\])')
_QUOTABLE = re.compile(rb"[\x20-\x7e]*")
LITERAL = re.compile(rb"\{([0-9]+)(\+?)\}$")


class ImapSyntaxError(Exception):
    """The command doesn't follow the grammar. The text never holds an argument's value."""


class Literal(Struct, frozen=True):
    """A literal's octets (RFC 9051 4.3), as they came. They may be a secret: no repr."""

    data: bytes

    def __repr__(self) -> str:
        return "Literal()"


class Cursor:
    """Reads one command: text pieces and literals in the order they came, line ends taken off; the last is text."""

    __slots__ = ("_at", "_index", "_pieces")

    def __init__(self, pieces: list[bytes | Literal]) -> None:
        self._pieces = pieces
        self._index = 0
        self._at = 0

    def _match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        piece = self._pieces[self._index]
        if isinstance(piece, Literal):
            return None
        found = pattern.match(piece, self._at)
        if found:
            self._at = found.end()
        return found

    def accept(self, text: bytes) -> bool:
        """Take ``text`` if it comes next."""
        piece = self._pieces[self._index]
        if isinstance(piece, bytes) and piece.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def expect(self, text: bytes) -> None:
        """Take ``text``. Raises ImapSyntaxError when something else comes."""
        if not self.accept(text):
            raise ImapSyntaxError("missing space or parenthesis")

    def spaces(self) -> bool:
        """Take spaces, whether any or none."""
        return bool(self._match(_SPACES))

    def tag(self) -> bytes:
        """Raises ImapSyntaxError."""
        if (found := self._match(TAG)) is None:
            raise ImapSyntaxError("bad tag")
        return found.group()

    def atom(self) -> bytes:
        """Raises ImapSyntaxError."""
        if (found := self._match(_ATOM)) is None:
            raise ImapSyntaxError("missing command or argument")
        return found.group()

    def rest(self) -> bytes:
        """What is left of the current piece, unparsed."""
        piece = self._pieces[self._index]
        if isinstance(piece, Literal):
            raise ImapSyntaxError("unexpected literal")
        rest, self._at = piece[self._at :], len(piece)
        return rest

    def string(self) -> bytes:
        """A quoted string or a literal. Raises ImapSyntaxError."""
        if (found := self._match(_QUOTED)) is not None:
            return _ESCAPED.sub(rb"\1", found.group(1))
        return self._literal()

    def astring(self) -> bytes:
        """An atom, a quoted string or a literal. Raises ImapSyntaxError."""
        if (found := self._match(_ASTRING)) is not None:
            return found.group()
        return self.string()

    def nil(self) -> bool:
        """Take NIL if it comes next."""
        return self._match(_NIL) is not None

    def nstring(self) -> bytes | None:
        """A string, or None for NIL. Raises ImapSyntaxError."""
        return None if self.nil() else self.string()

    def _literal(self) -> bytes:
        # A literal stands behind its "{n}", which the assembler has taken off the text before it.
        piece = self._pieces[self._index]
        if isinstance(piece, bytes) and self._at == len(piece) and self._index + 1 < len(self._pieces):
            literal = self._pieces[self._index + 1]
            if isinstance(literal, Literal):
                self._index += 2
                self._at = 0
                return literal.data
        raise ImapSyntaxError("bad string")

    def end(self) -> None:
        """Raises ImapSyntaxError when anything is left."""
        piece = self._pieces[self._index]
        if isinstance(piece, Literal) or self._at < len(piece) or self._index + 1 < len(self._pieces):
            raise ImapSyntaxError("too many arguments")

    def no_argument(self) -> None:
        """Nothing is left but spaces, which some clients leave behind. Raises ImapSyntaxError."""
        self.spaces()
        self.end()


def quoted(value: bytes) -> bytes | None:
    """A quoted string for the wire, or None where the value can only be a literal (8-bit, control characters)."""
    if _QUOTABLE.fullmatch(value) is None:
        return None
    return b'"' + escaped(value) + b'"'


def escaped(value: bytes) -> bytes:
    """What stands between the quotes of a quoted string."""
    return _SPECIAL.sub(rb"\\\1", value) if b'"' in value or b"\\" in value else value
