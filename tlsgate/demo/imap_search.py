"""SEARCH keys (RFC 3501 section 6.4.4), compiled to one predicate."""

from collections import deque
from collections.abc import Callable
from datetime import datetime

from tlsgate.demo import mime
from tlsgate.demo.imap_syntax import SyntaxFault, Token, in_set, number_set, text
from tlsgate.demo.mailbox import Message

Key = Callable[[int, Message], bool]
"""Whether the message with that sequence number is meant."""

_MAX_DEPTH = 20
_FLAGS = {
    b"ANSWERED": b"\\Answered",
    b"DELETED": b"\\Deleted",
    b"DRAFT": b"\\Draft",
    b"FLAGGED": b"\\Flagged",
    b"SEEN": b"\\Seen",
}


def parse_search(argument: list[Token], largest_number: int, largest_uid: int) -> Key:
    """Compile SEARCH's arguments; `*` stands for the largest number or UID. Raises SyntaxFault."""
    words = deque(argument)
    if words and not isinstance(words[0], list) and words[0].upper() == b"CHARSET":
        words.popleft()
        if text(_next(words)).upper() not in (b"US-ASCII", b"UTF-8"):
            raise SyntaxFault("unknown charset")
    if not words:
        raise SyntaxFault("no search key")
    return _all(words, (largest_number, largest_uid), 0)


def _all(words: deque[Token], largest: tuple[int, int], depth: int) -> Key:
    keys = []
    while words:
        keys.append(_key(words, largest, depth))
    return lambda number, message: all(key(number, message) for key in keys)


def _next(words: deque[Token]) -> Token:
    if not words:
        raise SyntaxFault("search key lacks its argument")
    return words.popleft()


def _key(words: deque[Token], largest: tuple[int, int], depth: int) -> Key:
    if depth > _MAX_DEPTH:
        raise SyntaxFault("search keys nested too deep")
    word = _next(words)
    if isinstance(word, list):
        return _all(deque(word), largest, depth + 1)
    name = word.upper()
    positive = name.removeprefix(b"UN")
    if positive in _FLAGS:
        return _flag(_FLAGS[positive], positive == name)
    match name:
        case b"ALL" | b"OLD":
            return lambda number, message: True
        case b"NEW" | b"RECENT":
            return lambda number, message: False
        case b"KEYWORD" | b"UNKEYWORD":
            return _flag(text(_next(words)), name == b"KEYWORD")
        case b"NOT":
            inner = _key(words, largest, depth + 1)
            return lambda number, message: not inner(number, message)
        case b"OR":
            one, other = _key(words, largest, depth + 1), _key(words, largest, depth + 1)
            return lambda number, message: one(number, message) or other(number, message)
        case b"UID":
            uids = number_set(_next(words), largest[1])
            return lambda number, message: in_set(message.uid, uids)
        case b"LARGER" | b"SMALLER":
            return _size(_next(words), larger=name == b"LARGER")
        case b"BEFORE" | b"ON" | b"SINCE":
            return _date(name, text(_next(words)))
        case b"FROM" | b"TO" | b"CC" | b"BCC" | b"SUBJECT":
            return _header(name, text(_next(words)))
        case b"HEADER":
            return _header(text(_next(words)), text(_next(words)))
        case b"BODY" | b"TEXT":
            return _text(text(_next(words)), header=name == b"TEXT")
    numbers = number_set(word, largest[0])
    return lambda number, message: in_set(number, numbers)


def _flag(flag: bytes, wanted: bool) -> Key:
    return lambda number, message: (flag in message.flags) is wanted


def _size(token: Token, larger: bool) -> Key:
    ((size, high),) = number_set(token, 0)[:1]
    if size != high:
        raise SyntaxFault("bad size")
    return lambda number, message: len(message.raw) > size if larger else len(message.raw) < size


def _header(field: bytes, wanted: bytes) -> Key:
    name, value = field.lower(), wanted.lower()

    def key(number: int, message: Message) -> bool:
        fields = mime.header_fields(mime.Part(message.raw).header)
        return any(found == name and value in content.lower() for found, content, _ in fields)

    return key


def _text(wanted: bytes, header: bool) -> Key:
    value = wanted.lower()

    def key(number: int, message: Message) -> bool:
        return value in (message.raw if header else mime.Part(message.raw).body).lower()

    return key


def _date(name: bytes, value: bytes) -> Key:
    try:
        day = datetime.strptime(value.decode(), "%d-%b-%Y").date()
    except ValueError:
        raise SyntaxFault("bad date") from None
    match name:
        case b"BEFORE":
            return lambda number, message: message.received.date() < day
        case b"ON":
            return lambda number, message: message.received.date() == day
        case _:
            return lambda number, message: message.received.date() >= day
