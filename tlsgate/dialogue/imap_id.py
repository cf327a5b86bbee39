"""IMAP's ID towards a backend (RFC 2971): who the client is, in the fields that Dovecot takes from a trusted proxy."""

from __future__ import annotations

from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.imap_syntax import quoted

# What a client may say of itself there: fields of RFC 2971 3.3, none of which tells a server where it comes from.
_CLIENTS_OWN = ("name", "version", "os", "os-version", "vendor", "support-url", "date")
_LONGEST_VALUE = 128
_LONGEST_LIST = 900  # Dovecot reads about 1000 octets before login


def id_fields(client: ClientFacts) -> bytes:
    """The argument of ID: our fields, then the client's own as far as they are known, short and printable."""
    pairs = [*_end("originating", client.source), *_end("connected", client.destination)]
    if client.session:
        pairs.append(("x-session-id", client.session))
    words = [_field(name, value) for name, value in pairs]
    own = {name.lower(): value for name, value in client.id_fields if value is not None}
    for name in _CLIENTS_OWN:
        value = own.get(name, "")
        if value and value.isascii() and value.isprintable() and len(value) <= _LONGEST_VALUE:
            words.append(_field(name, value))
    while len(b" ".join(words)) > _LONGEST_LIST:
        words.pop()
    return b"(" + b" ".join(words) + b")" if words else b"NIL"


def _end(kind: str, end: Endpoint | None) -> list[tuple[str, str]]:
    return [] if end is None else [(f"x-{kind}-ip", str(end.address)), (f"x-{kind}-port", str(end.port))]


def _field(name: str, value: str) -> bytes:
    text = quoted(value.encode())
    assert text is not None  # noqa: S101 - printable ASCII
    return b'"%s" %s' % (name.encode(), text)
