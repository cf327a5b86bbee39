"""In which line of a TOML text each key stands: tomllib doesn't tell.

The text has been through tomllib, so only its shape is read here: headers, keys, brackets and where values end.
"""

from __future__ import annotations

import re
import tomllib

from msgspec import Struct

from tlsgate.config.fault import KeyPath

_TOKEN = re.compile(
    r"""
      (?P<space> [ \t\r]+ | \#[^\n]* )
    | (?P<mark> [\n\[\]{}=,.] )
    | (?P<quoted> \"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5} | "(?:\\.|[^"\\])*" | '[^']*' )
    | (?P<bare> [^\s\#"'\[\]{}=,.]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_END_OF_TEXT = ""


class _Token(Struct, frozen=True):
    text: str
    line: int


class Lines:
    """The lines of a text that is good TOML."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}  # [[headers]]: how many so far
        table: KeyPath = ()
        while (token := self._peek()).text != _END_OF_TEXT:
            if token.text == "\n":
                self._next += 1
            elif token.text == "[":
                table = self._header()
            else:
                self._pair(table)

    def of(self, key: KeyPath) -> int | None:
        """The line of a key, else of the nearest that holds it; None where the text has neither."""
        while key:
            if key in self._lines:
                return self._lines[key]
            key = key[:-1]
        return None

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _header(self) -> KeyPath:
        line = self._take().line
        is_array = self._peek().text == "["
        self._next += is_array
        parts = self._key()
        self._next += 1 + is_array
        path: KeyPath = ()
        for part in parts:
            path = self._last_of(path)
            path += (part,)
            self._lines.setdefault(path, line)
        if is_array:
            self._tables[path] = self._tables.get(path, 0) + 1
        path = self._last_of(path)
        self._lines.setdefault(path, line)
        return path

    def _last_of(self, path: KeyPath) -> KeyPath:
        count = self._tables.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: KeyPath) -> None:
        line = self._peek().line
        for part in self._key():
            table += (part,)
            self._lines.setdefault(table, line)
        self._next += 1  # "="
        self._value(table)

    def _key(self) -> list[str]:
        parts = [_unquoted(self._take().text)]
        while self._peek().text == ".":
            self._next += 1
            parts.append(_unquoted(self._take().text))
        return parts

    def _value(self, key: KeyPath) -> None:
        match self._take().text:
            case "[":
                self._list(key)
            case "{":
                while (token := self._peek()).text != "}":
                    if token.text in "\n,":
                        self._next += 1
                    else:
                        self._pair(key)
                self._next += 1
            case _:  # the rest of a number or a time: "1.5" is three tokens
                while self._peek().text not in ("\n", ",", "]", "}", _END_OF_TEXT):
                    self._next += 1

    def _list(self, key: KeyPath) -> None:
        index = 0
        while (token := self._peek()).text != "]":
            if token.text in "\n,":
                index += token.text == ","
                self._next += 1
            else:
                self._lines[*key, index] = token.line
                self._value((*key, index))
        self._next += 1


def _tokens(text: str) -> list[_Token]:
    tokens = []
    line = 1
    for found in _TOKEN.finditer(text):
        if found.lastgroup != "space":
            tokens.append(_Token(found[0], line))
        line += found[0].count("\n")
    return [*tokens, _Token(_END_OF_TEXT, line)]


def _unquoted(key: str) -> str:
    if key[0] not in "\"'":
        return key
    name: str = tomllib.loads(f"key = {key}")["key"]
    return name
