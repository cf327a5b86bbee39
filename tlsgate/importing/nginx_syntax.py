"""nginx's syntax: words, quotes, comments and blocks to directives, and the files that they include.

What is in ``http`` and ``stream`` isn't looked into: their files aren't read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tlsgate.importing.reading import CannotImport, Place, read

_DEEPEST = 16  # blocks, and includes
_MOST_FILES = 256


@dataclass(frozen=True, slots=True)
class Directive:
    """``block``: what is in its braces, None without. ``words`` may be secret."""

    place: Place
    name: str
    words: tuple[str, ...] = field(repr=False)
    block: tuple[Directive, ...] | None = None


Settings = Mapping[str, Sequence[Directive]]
"""What holds in a server: its own directives, and those of ``mail`` that it has none of, by their names."""


def word(settings: Settings, name: str) -> str:
    """The first word of a directive, "" without it."""
    found = settings.get(name)
    return found[0].words[0] if found and found[0].words else ""


def read_directives(path: Path) -> tuple[Directive, ...]:
    """What is in a config file, and in those that it includes; an include of none stays. Raises CannotImport."""
    return tuple(_Reader(path.absolute().parent).expanded(_parsed(path), 0))


class _Reader:
    """Includes: relative to ``directory``, that of the main file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = 0

    def expanded(self, directives: tuple[Directive, ...], depth: int) -> Iterator[Directive]:
        for each in directives:
            if each.name == "include" and len(each.words) == 1:
                yield from self._included(each, depth + 1)
            elif each.block is not None and each.name not in ("http", "stream"):
                yield Directive(each.place, each.name, each.words, tuple(self.expanded(each.block, depth)))
            else:
                yield each

    def _included(self, include: Directive, depth: int) -> Iterator[Directive]:
        if depth > _DEEPEST:
            raise CannotImport(f"{include.place}: includes are nested too deep")
        for path in self._paths(include):
            self._files += 1
            if self._files > _MOST_FILES:
                raise CannotImport(f"{include.place}: more than {_MOST_FILES} files are included")
            if path.is_file():
                yield from self.expanded(_parsed(path), depth)
            else:
                yield include

    def _paths(self, include: Directive) -> list[Path]:
        pattern = re.sub(r"\*+", "*", include.words[0])  # "**" is no more than "*" there
        if not re.search(r"[*?\[]", pattern):
            return [self._directory / pattern]
        base = Path("/") if pattern.startswith("/") else self._directory
        try:
            return sorted(islice(base.glob(pattern.lstrip("/")), _MOST_FILES + 1))
        except (ValueError, NotImplementedError):
            raise CannotImport(f"{include.place}: a pattern of files that can't be used") from None


# One token: space, a comment, a bracket or the end of a directive, a quoted word, a word.
_TOKEN = re.compile(
    r"""(?P<space>[\s]+|\#[^\n]*)
    |(?P<mark>[{};])
    |"(?P<double>(?:[^"\\]|\\.)*)"
    |'(?P<single>(?:[^'\\]|\\.)*)'
    |(?P<word>(?:\$\{|\\.|[^\s{};\\"'])(?:\$\{[^}\s]*\}?|\\.|[^\s{;\\])*)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", '"': '"', "'": "'", "\\": "\\"}


def _parsed(path: Path) -> tuple[Directive, ...]:
    """One file's directives. Raises CannotImport."""
    tokens = _tokens(path, read(path))
    blocks: list[list[Directive]] = [[]]
    opened: list[tuple[Place, list[str]]] = []
    words: list[str] = []
    place = Place(path, 1)
    for place, mark, quoted in tokens:
        if quoted or mark not in ("{", "}", ";"):
            if not words:
                began = place
            words.append(mark)
        elif mark == "}":
            if words or not opened:
                raise CannotImport(f'{place}: "}}" is not expected here')
            start, (name, *rest) = opened.pop()
            block = tuple(blocks.pop())
            blocks[-1].append(Directive(start, name, tuple(rest), block))
        elif not words:
            raise CannotImport(f'{place}: "{mark}" is not expected here')
        elif mark == ";":
            blocks[-1].append(Directive(began, words[0], tuple(words[1:])))
            words = []
        else:
            if len(opened) == _DEEPEST:
                raise CannotImport(f"{place}: blocks are nested too deep")
            opened.append((began, words))
            blocks.append([])
            words = []
    if words or opened:
        raise CannotImport(f'{place}: the file ends before a ";" or "}}"')
    return tuple(blocks[0])


def _tokens(path: Path, text: str) -> Iterator[tuple[Place, str, bool]]:
    """Each token with its place, and whether it was quoted."""
    at, line, last = 0, 1, ""
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise CannotImport(f"{Place(path, line)}: a quote or an escape that doesn't end")
        kind = str(found.lastgroup)
        if kind != "space":
            piece = found[kind]
            yield Place(path, line), piece if kind == "mark" else _plain(piece), kind in ("double", "single")
            if piece == "{" and last.endswith("_by_lua_block"):
                at, line = _past_code(text, found.end(), line)
                last = ""
                continue
            last = piece
        line += text.count("\n", at, found.end())
        at = found.end()


_CODE = re.compile(r"""--[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[{}]""", re.DOTALL)


def _past_code(text: str, at: int, line: int) -> tuple[int, int]:
    """Past a block of Lua, up to the brace that ends it; and the line there."""
    depth = 1
    for piece in _CODE.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(piece[0], 0)
        if not depth:
            return piece.start(), line + text.count("\n", at, piece.start())
    return len(text), line


def _plain(token: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[0]), token)
