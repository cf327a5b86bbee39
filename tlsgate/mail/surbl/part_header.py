"""What a part's header says of its body (RFC 2045, RFC 2183, RFC 2231), and no more of it than that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_LONGEST = 2048  # octets of a field that are looked at
_FIELD = re.compile(rb"([!-9;-~]{1,100})[ \t]*+:")
_KEPT = frozenset((b"content-type", b"content-transfer-encoding", b"content-disposition"))
_TYPE = re.compile(rb"\s*+([\w.+-]++/[\w.+-]++)")
_TOKEN = re.compile(rb"\s*+([\w.+-]*+)")
_PARAMETER = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"?|([^\s;"]*+))', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SECTIONS = 10  # RFC 2231 3


@dataclass(frozen=True, slots=True)
class PartHeader:
    """Lower-case, but for ``boundary``. Without a type that can be read it is plain text (RFC 2045 5.2)."""

    media_type: bytes = b"text/plain"
    charset: bytes = b""
    boundary: bytes = b""
    encoding: bytes = b""
    attachment: bool = False


class HeaderReader:
    """Takes a header line by line. ``default``: the media type of a part that doesn't say one."""

    def __init__(self, default: bytes = b"text/plain") -> None:
        self._default = default
        self._fields: dict[bytes, bytes] = {}
        self._field = b""

    def line(self, line: bytes) -> bool:
        """Take a line, or the next piece of a long one behind a space. Gives whether it belongs to a header."""
        if line.startswith((b" ", b"\t")):
            if self._field:
                self._fields[self._field] = (self._fields[self._field] + line)[:_LONGEST]
            return True
        found = _FIELD.match(line)
        if found is None:
            return False
        name = found[1].lower()
        self._field = name if name in _KEPT and name not in self._fields else b""
        if self._field:
            self._fields[name] = line[found.end() :][:_LONGEST]
        return True

    def header(self) -> PartHeader:
        """What the lines have said."""
        content_type = self._fields.get(b"content-type", b"")
        media_type = _TYPE.match(content_type)
        parameters = _parameters(content_type)
        return PartHeader(
            media_type[1].lower() if media_type else self._default,
            _parameter(parameters, b"charset").strip().lower(),
            _parameter(parameters, b"boundary").rstrip(),
            _token(self._fields.get(b"content-transfer-encoding", b"")),
            _token(self._fields.get(b"content-disposition", b"")) == b"attachment",
        )


def _token(value: bytes) -> bytes:
    found = _TOKEN.match(value)
    return found[1].lower() if found else b""


def _parameters(value: bytes) -> dict[bytes, bytes]:
    """The first of each name."""
    parameters: dict[bytes, bytes] = {}
    for found in _PARAMETER.finditer(value.replace(b"\r\n", b"")):
        text = found[3] if found[2] is None else _ESCAPED.sub(rb"\1", found[2])
        parameters.setdefault(found[1].lower(), text)
    return parameters


def _parameter(parameters: dict[bytes, bytes], name: bytes) -> bytes:
    """A parameter, whole, encoded or in sections (RFC 2231 3 and 4)."""
    if name in parameters:
        return parameters[name]
    if name + b"*" in parameters:
        return unquote_to_bytes(parameters[name + b"*"].split(b"'", 2)[-1])
    sections = []
    for number in range(_SECTIONS):
        section = b"%b*%d" % (name, number)
        if section in parameters:
            sections.append(parameters[section])
        elif section + b"*" in parameters:
            text = parameters[section + b"*"]
            sections.append(unquote_to_bytes(text.split(b"'", 2)[-1] if number == 0 else text))
    return b"".join(sections)
