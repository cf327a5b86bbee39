"""Finds hosts in text: those of URIs, and names that stand alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from tlsgate.mail.surbl.site import INVISIBLE

Found = Callable[[str], None]
"""Takes a host as it is written, up to any port. Most are names of files and the like."""

_HELD = 8192  # characters of a word that may go on in the next piece
_BREAKS = ' \t\r\n\f<>"'  # no URI goes on behind these
# A userinfo ends at the last "@" before the path; "\" is "/" to browsers, and further slashes are none.
_URI = re.compile(r"(?<=[A-Za-z]):[/\\]{2,}+([^\s/\\?#<>\"]++)")
_REFERENCE = re.compile(r"\s*+(?:https?:[/\\]*+|[/\\]{2,}+)([^\s/\\?#<>\"]++)", re.IGNORECASE)
_HOST = re.compile(r"\[[0-9A-Fa-f:.%]*\]?|[^\s:,;()!*'$&+=\[\]{}|^`]*")
# Not what belongs to an address of mail or to a path.
_NAME = re.compile(r"(?<![A-Za-z0-9@._/\\-])[A-Za-z0-9_-]++\.[A-Za-z0-9_.-]++(?!@)")
_UNICODE_NAME = re.compile(r"(?<![\w@./\\-])[\w-]++[.\u3002\uff0e\uff61][\w.\u3002\uff0e\uff61-]++(?!@)")
_PLAIN = re.compile(r"[!-~]+")
_IGNORED_IN_URIS = str.maketrans("", "", "\t\r\n")


class Finder:
    """Takes a text in pieces. ``names``: whether names without a scheme count."""

    def __init__(self, found: Found, *, names: bool = True) -> None:
        self._found = found
        self._names = names
        self._held = ""

    def feed(self, text: str) -> None:
        """Find what is complete by now. The last word waits for what follows."""
        text = self._held + text
        if not text.isascii():
            text = INVISIBLE.sub("", text)
        most = _HELD if text.isascii() else _HELD // 4  # a character takes up to four octets
        tail = text[-most:]
        word = len(text) - len(tail) + max(map(tail.rfind, _BREAKS)) + 1
        if word + most <= len(text):  # too long for a word
            word = len(text)
        self._held = text[word:]
        self._search(text[:word])

    def finish(self) -> None:
        """The text is over."""
        self._search(self._held)
        self._held = ""

    def _search(self, text: str) -> None:
        search_uris(text, self._found)
        if self._names and "." in text:
            for name in _NAME.finditer(text):
                _name(name[0], self._found)
        if self._names and not text.isascii():
            for name in _UNICODE_NAME.finditer(text):
                if not name[0].isascii():
                    _name(name[0], self._found)


def search_uris(text: str, found: Found) -> None:
    """Find the hosts of the URIs that a text holds, with their schemes."""
    for uri in _URI.finditer(text):
        _authority(uri[1], found)


def read_reference(value: str, found: Found) -> None:
    """Find the host of an attribute's URI, and those of URIs within it: they are where redirections lead."""
    value = value.translate(_IGNORED_IN_URIS)
    if reference := _REFERENCE.match(value):
        _authority(reference[1], found)
    search_uris(value, found)
    if "%" in value:
        search_uris(unquote(value), found)


def _name(text: str, found: Found) -> None:
    """A name that stands alone. Versions of programs look like addresses, so those need a scheme."""
    name = text.rstrip(".-_")
    if name.rpartition(".")[2][:1].isalpha() or not name.isascii():
        found(name)


def _authority(text: str, found: Found) -> None:
    host = _HOST.match(text.rpartition("@")[2])
    if host and host[0]:
        found(host[0])
        plain = _PLAIN.match(host[0])
        if plain and plain[0] != host[0] and "." in plain[0]:  # text without spaces may go on behind the name
            found(plain[0])
