"""FETCH data items (RFC 3501 section 6.4.5): parsed once, then written for each message."""

import re
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from tlsgate.demo import mime
from tlsgate.demo.imap_structure import envelope, section, structure
from tlsgate.demo.imap_syntax import SyntaxFault, Token, literal, text
from tlsgate.demo.mailbox import Message

Write = Callable[[Message], bytes]


class Item(Struct, frozen=True):
    """One data item: its name in the response, how its value is written, whether it sets \\Seen."""

    name: bytes
    write: Write
    marks_seen: bool = False


_MAX_ITEMS = 50
_EMPTY = mime.Part(b"")
_BODY = re.compile(rb"(?i)BODY(?P<peek>\.PEEK)?\[(?P<section>.*)\](?:<(?P<first>\d{1,10})\.(?P<count>\d{1,10})>)?")
_MACROS = {
    b"FAST": [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"],
    b"ALL": [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE"],
    b"FULL": [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"],
}
_SIMPLE: dict[bytes, Write] = {
    b"FLAGS": lambda message: b"(%b)" % b" ".join(sorted(message.flags)),
    b"UID": lambda message: b"%d" % message.uid,
    b"INTERNALDATE": lambda message: message.received.strftime('"%d-%b-%Y %H:%M:%S +0000"').encode(),
    b"RFC822.SIZE": lambda message: b"%d" % len(message.raw),
    b"ENVELOPE": lambda message: envelope(mime.Part(message.raw)),
    b"BODY": lambda message: structure(mime.Part(message.raw), extended=False),
    b"BODYSTRUCTURE": lambda message: structure(mime.Part(message.raw), extended=True),
}


def parse_items(argument: list[Token], uid: bool) -> list[Item]:
    """Parse what follows the set in FETCH; `uid` adds UID, as UID FETCH asks. Raises SyntaxFault."""
    words = argument
    if len(argument) == 1:
        only = argument[0]
        words = only if isinstance(only, list) else [*_MACROS.get(only.upper(), [only])]
    elif any(isinstance(word, list) for word in argument):
        raise SyntaxFault("bad FETCH")
    items = [_item(text(word)) for word in words]
    if not 0 < len(items) <= _MAX_ITEMS:
        raise SyntaxFault("nothing to fetch, or too much at once")
    if uid and not any(item.name == b"UID" for item in items):
        items.insert(0, Item(b"UID", _SIMPLE[b"UID"]))
    return items


def _item(word: bytes) -> Item:
    name = word.upper()
    if write := _SIMPLE.get(name):
        return Item(name, write)
    match name:
        case b"RFC822":
            return Item(name, partial(_content, b"", None), marks_seen=True)
        case b"RFC822.HEADER":
            return Item(name, partial(_content, b"HEADER", None))
        case b"RFC822.TEXT":
            return Item(name, partial(_content, b"TEXT", None), marks_seen=True)
    body = _BODY.fullmatch(word)
    if body is None:
        raise SyntaxFault("unknown data item")
    section(_EMPTY, body["section"])
    first, extent = b"", None
    if body["first"]:
        extent = slice(int(body["first"]), int(body["first"]) + int(body["count"]))
        first = b"<%d>" % extent.start
    label = b"BODY[%b]%b" % (body["section"], first)
    return Item(label, partial(_content, body["section"], extent), marks_seen=not body["peek"])


def _content(spec: bytes, extent: slice | None, message: Message) -> bytes:
    content = section(mime.Part(message.raw), spec) if spec else message.raw
    if content is None:
        return b"NIL"
    return literal(content if extent is None else content[extent])
