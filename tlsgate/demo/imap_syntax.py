"""IMAP's grammar (RFC 3501 section 9), as far as the demo needs it: tokens in, strings and sets out."""

import re
from typing import TypeAlias

Token: TypeAlias = bytes | list["Token"]
"""An atom or string by its value, or a parenthesized list."""

_TOKEN = re.compile(
    rb"""(?ix)
    (?P<space> [ ]+)
    | (?P<open> \()
    | (?P<close> \))
    | " (?P<quoted> (?: [^"\\\r\n] | \\["\\] )* ) "
    | \{ (?P<literal> \d{1,10} ) \+? \} \r\n
    | (?P<atom> BODY (?:\.PEEK)? \[ [^]\r\n]* \] (?: < [\d.]+ > )? | [^\s()"{]+ )
    """
)
_ESCAPED = re.compile(rb'\\(["\\])')
_QUOTABLE = re.compile(rb"[\x20-\x7e]{0,1000}")
_RANGE = re.compile(rb"(\d{1,10}|\*)(?::(\d{1,10}|\*))?")


class SyntaxFault(Exception):
    """What the client sent is not IMAP, or not the part of it that the demo knows: BAD."""


def tokens(data: bytes) -> list[Token]:
    """Split a command's arguments, with literals in place as `{n}CRLF` and n bytes. Raises SyntaxFault."""
    stack: list[list[Token]] = [[]]
    position = 0
    while position < len(data):
        match = _TOKEN.match(data, position)
        if match is None:
            raise SyntaxFault("syntax error")
        position = match.end()
        match match.lastgroup:
            case "open":
                stack.append([])
            case "close":
                inner = stack.pop()
                if not stack:
                    raise SyntaxFault("unbalanced parenthesis")
                stack[-1].append(inner)
            case "quoted":
                stack[-1].append(_ESCAPED.sub(rb"\1", match["quoted"]))
            case "literal":
                end = position + int(match["literal"])
                stack[-1].append(data[position:end])
                position = end
            case "atom":
                stack[-1].append(match["atom"])
    if len(stack) > 1:
        raise SyntaxFault("unbalanced parenthesis")
    return stack[0]


def text(token: Token) -> bytes:
    """Return an astring's value. Raises SyntaxFault for a list."""
    if isinstance(token, list):
        raise SyntaxFault("string expected")
    return token


def nstring(value: bytes | None) -> bytes:
    """Write NIL, a quoted string, or a literal where quotes can't hold the value."""
    if value is None:
        return b"NIL"
    if _QUOTABLE.fullmatch(value):
        return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return literal(value)


def literal(value: bytes) -> bytes:
    """Write a literal."""
    return b"{%d}\r\n%b" % (len(value), value)


def number_set(token: Token, largest: int) -> list[tuple[int, int]]:
    """Parse a sequence or UID set to ranges, low end first; `*` is `largest`. Raises SyntaxFault."""
    ranges = []
    for part in text(token).split(b","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise SyntaxFault("bad sequence set")
        low, high = (largest if end == b"*" else int(end) for end in (match[1], match[2] or match[1]))
        ranges.append((min(low, high), max(low, high)))
    return ranges


def in_set(number: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether a number lies in one of the ranges."""
    return any(low <= number <= high for low, high in ranges)
