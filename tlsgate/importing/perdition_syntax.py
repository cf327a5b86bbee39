"""Perdition's syntax: a line is an option, by its long or its short name, and its value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tlsgate.importing.reading import CannotImport, Place, read

_SHORT = {
    "A": "add_domain",
    "a": "authenticate_in",
    "B": "no_bind_banner",
    "b": "bind_address",
    "C": "connection_logging",
    "c": "client_server_specification",
    "D": "domain_delimiter",
    "d": "debug",
    "e": "explicit_domain",
    "F": "log_facility",
    "f": "config_file",
    "g": "group",
    "h": "help",
    "I": "capability",
    "i": "inetd_mode",
    "L": "connection_limit",
    "l": "listen_port",
    "M": "map_library",
    "m": "map_library_opt",
    "n": "no_lookup",
    "O": "ok_line",
    "o": "server_resp_line",
    "P": "protocol",
    "p": "outgoing_port",
    "q": "quiet",
    "S": "strip_domain",
    "s": "outgoing_server",
    "t": "timeout",
    "U": "username_from_database",
    "u": "username",
}


@dataclass(frozen=True, slots=True)
class Option:
    """``name``: the long one. ``value``: "" without one; it may be secret."""

    place: Place
    name: str
    value: str = field(repr=False)


def read_options(path: Path) -> dict[str, Option]:
    """Options by their names, the last of each. Raises CannotImport."""
    found: dict[str, Option] = {}
    for number, key, value in _lines(path, read(path)):
        name = _SHORT.get(key, key.removeprefix("--"))
        found[name] = Option(Place(path, number), name, value)
    return found


# Spaces, a comment (which may be continued too), what is quoted, what is escaped, or any other character.
_PIECE = re.compile(
    r"""(?P<end>\n)|(?P<space>[^\S\n]+)|(?P<comment>\#(?:\\\n|[^\n])*)|(?P<continued>\\\n)|\\(?P<escaped>.)
    |'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s\\'"\#]+)""",
    re.VERBOSE | re.DOTALL,
)


def _lines(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Each line's number, key and value. Space ends a key, and stays within a value."""
    at, line, began = 0, 1, 1
    key, rest, gap = "", "", False
    text += "\n"
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise CannotImport(f"{Place(path, line)}: a quote or an escape that doesn't end")
        at = piece.end()
        match piece.lastgroup:
            case "end":
                if key:
                    yield began, key, rest.strip()
                key, rest, gap = "", "", False
            case "space" if key:
                rest, gap = rest + piece[0], True
            case "escaped" | "single" | "double" | "plain":
                began = began if key else line
                if gap:
                    rest += _plain(piece)
                else:
                    key += _plain(piece)
        line += piece[0].count("\n")


def _plain(piece: re.Match[str]) -> str:
    text = piece[str(piece.lastgroup)]
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) if piece.lastgroup == "double" else text
