"""What a part's header says of its body (RFC 2045, RFC 2231, RFC 5322), and no more of it than that."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from msgspec import Struct

_LONGEST = 8192  # octets of a field that are looked at
_BLANKS = 201  # in a row: more than a boundary may have

_MORE_BLANKS = re.compile(rb"[ \t]{%d,}" % (_BLANKS + 1))
_FIELD = re.compile(rb"([!-9;-~]{1,100})[ \t]*+:")
_KEPT = frozenset((b"content-type", b"content-transfer-encoding"))
_ENCODINGS = frozenset((b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable"))
_TYPE = re.compile(rb"[\s\"]*+([\w.+-]++)\s*+/\s*+([\w.+-]++)")
_TOKEN = re.compile(rb"[\s\"]*+([\w.+-]*+)")
_PARAMETER = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"?|([^\s;"]*+))', re.DOTALL)
_READ = re.compile(rb"(?:charset|boundary)(?:\*[0-9]?\*?)?")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LEXEME = re.compile(rb'"(?:[^"\\]|\\.)*+"?|\\.?|[()]|[^"\\()]++', re.DOTALL)
_COMMENT_LEXEME = re.compile(rb"\\.?|[()]|[^\\()]++", re.DOTALL)
_SECTIONS = 10  # RFC 2231 3

ANY_TYPE = b"multipart/*"
"""A media type that can't be read: it may be any, and so a multipart."""
ANY_ENCODING = b"?"
"""An encoding that can't be read, or that nobody knows."""


class PartHeader(Struct, frozen=True):
    """Lower-case, but for ``boundary``. Without a type that can be read it is plain text (RFC 2045 5.2).

    ``unsure``: a field is too long, or is read otherwise by others.
    """

    media_type: bytes = b"text/plain"
    charset: bytes = b""
    boundary: bytes = b""
    encoding: bytes = b""
    unsure: bool = False


class HeaderReader:
    """Takes a header line by line. ``default``: the media type of a part that doesn't say one."""

    def __init__(self, default: bytes = b"text/plain") -> None:
        self._default = default
        self._fields: dict[bytes, bytearray] = {}
        self._field: bytearray | None = None
        self._cut = False

    def line(self, line: bytes) -> bool:
        """Take a line, or a long one's first piece. Gives whether it belongs to a header."""
        if line.startswith((b" ", b"\t")):
            self.more(line)
            return True
        found = _FIELD.match(line)
        if found is None:
            return False
        name = found[1].lower()
        self._field = None
        if name in _KEPT and name not in self._fields:
            self._field = self._fields[name] = bytearray()
        self.more(line[found.end() :])
        return True

    def more(self, piece: bytes) -> None:
        """Take a long line's next piece."""
        if self._field is None:
            return
        piece = _MORE_BLANKS.sub(b" " * _BLANKS, piece.rstrip(b"\r\n"))
        if not self._field:
            piece = piece.lstrip(b" \t")
        elif piece.startswith((b" ", b"\t")):
            end = bytes(self._field[-_BLANKS:])
            room = _BLANKS - len(end) + len(end.rstrip(b" \t"))
            blanks = len(piece) - len(piece.lstrip(b" \t"))
            piece = piece[max(blanks - room, 0) :]
        room = _LONGEST - len(self._field)
        self._cut = self._cut or len(piece) > room
        self._field += piece[:room]

    def header(self) -> PartHeader:
        """What the lines have said."""
        written = bytes(self._fields.get(b"content-type", b""))
        cut = len(written) >= _LONGEST
        content_type = _without_comments(written)
        media_type = _TYPE.match(content_type)
        default = ANY_TYPE if cut or content_type != written else self._default
        parameters = _parameters(content_type, cut=cut)
        boundary = _parameter(parameters, b"boundary").rstrip()
        # "boundary=a(b)": a comment to some, and to others a part of the boundary.
        other = _parameter(_parameters(written, cut=cut), b"boundary").rstrip()
        unsure = other not in (b"", boundary) or (cut and b"boundary" not in parameters)
        encoding = b""
        if (field := self._fields.get(b"content-transfer-encoding")) is not None:
            encoding = _token(_without_comments(bytes(field)))
            encoding = encoding if encoding in _ENCODINGS else ANY_ENCODING
        return PartHeader(
            b"/".join(media_type.groups()).lower() if media_type else default,
            _parameter(parameters, b"charset").strip().lower(),
            b"" if unsure else boundary,
            encoding,
            unsure or self._cut or encoding == ANY_ENCODING,
        )


def _token(value: bytes) -> bytes:
    found = _TOKEN.match(value)
    return found[1].lower() if found else b""


def _without_comments(value: bytes) -> bytes:
    """A field whose comments are blanks (RFC 5322 3.2.2); one without an end takes the rest with it."""
    if b"(" not in value:
        return value
    kept = []
    depth = at = 0
    while at < len(value) and (found := (_COMMENT_LEXEME if depth else _LEXEME).match(value, at)):
        at = found.end()
        if found[0] == b"(":
            depth += 1
            kept.append(b" ")
        elif found[0] == b")":
            depth = max(depth - 1, 0)
        elif not depth:
            kept.append(found[0])
    return b"".join(kept)


def _parameters(value: bytes, *, cut: bool) -> dict[bytes, bytes]:
    """The first of each name that is asked for, but for one that may go on behind the ``cut``."""
    parameters: dict[bytes, bytes] = {}
    for found in _PARAMETER.finditer(value):
        name = found[1].lower()
        if _READ.fullmatch(name) and not (cut and found.end() == len(value)):
            text = found[3] if found[2] is None else _ESCAPED.sub(rb"\1", found[2])
            parameters.setdefault(name, text)
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
