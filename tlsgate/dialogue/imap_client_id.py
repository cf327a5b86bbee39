"""IMAP's ID from a client (RFC 2971): what it says of itself, within bounds."""

from __future__ import annotations

from tlsgate.dialogue.imap_syntax import Cursor, ImapSyntaxError

_FIELDS = 30  # RFC 2971 3.3
_FIELD = 30
_VALUE = 1024


def client_fields(cursor: Cursor) -> tuple[tuple[str, str | None], ...]:
    """The field list (RFC 2971 3.1). Raises ImapSyntaxError."""
    if cursor.nil():
        return ()
    cursor.expect(b"(")
    fields: list[tuple[str, str | None]] = []
    apart = cursor.spaces()
    while not cursor.accept(b")"):
        if fields and not apart:
            raise ImapSyntaxError("missing space or parenthesis")
        name = cursor.string()
        cursor.expect(b" ")
        value = cursor.nstring()
        if len(fields) >= _FIELDS or len(name) > _FIELD or len(value or b"") > _VALUE:
            raise ImapSyntaxError("ID is too long")
        fields.append((name.decode("ascii", "replace"), None if value is None else value.decode("utf-8", "replace")))
        apart = cursor.spaces()
    return tuple(fields)
