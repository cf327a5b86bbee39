"""A message's MIME parts (RFC 2045, 2046), cut out of it without decoding: sizes and sections stay exact."""

import re
from functools import cached_property

from msgspec import Struct

_MAX_DEPTH = 20
_MAX_FIELD = 8192  # the standard library takes quadratic time for addresses

_BLANK_LINE = re.compile(rb"(?:\A|\r?\n)\r?\n")
_FIELD = re.compile(rb"^([^:\s]+)[ \t]*:(.*(?:\n[ \t].*)*)\n?", re.MULTILINE)
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


class Parametrized(Struct, frozen=True):
    """A field's value in lower case and its parameters, in order."""

    value: bytes
    parameters: tuple[tuple[bytes, bytes], ...]


class Part:
    """A message or body part, cut further only where one asks: a header costs nothing for what lies below it."""

    def __init__(self, raw: bytes, default_type: bytes = b"text/plain", depth: int = 0) -> None:
        blank = _BLANK_LINE.search(raw)
        end = blank.end() if blank else len(raw)
        self.header = raw[:end]
        """With the blank line."""
        self.body = raw[end:]
        self._default_type = default_type
        self._depth = depth

    def field(self, name: bytes) -> bytes | None:
        """Return the first header field of that (lower-case) name, unfolded, or None."""
        for found, value, _ in header_fields(self.header):
            if found == name:
                return _FOLD.sub(b"", value[:_MAX_FIELD]).strip()
        return None

    @cached_property
    def children(self) -> tuple["Part", ...]:
        """The parts of a multipart; the one message in a message/rfc822; nothing in a leaf."""
        if self._depth >= _MAX_DEPTH:
            return ()
        kind, depth = self._declared_type, self._depth + 1
        if kind.value == b"message/rfc822":
            return (Part(self.body, depth=depth),)
        boundary = dict(kind.parameters).get(b"boundary", b"")
        if not kind.value.startswith(b"multipart/") or not boundary:
            return ()
        inner = b"message/rfc822" if kind.value == b"multipart/digest" else b"text/plain"
        bodies = _split(self.body, boundary)
        return tuple(Part(body, inner, depth) for body in bodies)

    @cached_property
    def type(self) -> Parametrized:
        """The media type; a multipart without parts, or nested too deep, is plain text."""
        kind = self._declared_type
        composite = kind.value == b"message/rfc822" or kind.value.startswith(b"multipart/")
        return Parametrized(b"text/plain", ()) if composite and not self.children else kind

    @cached_property
    def _declared_type(self) -> Parametrized:
        kind = parametrized(self.field(b"content-type"))
        return kind if kind and kind.value.count(b"/") == 1 else Parametrized(self._default_type, ())


def header_fields(header: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return (lower-case name, value as folded, the whole field) of each field, in order."""
    return [(match[1].lower(), match[2], match[0]) for match in _FIELD.finditer(header)]


def parametrized(value: bytes | None) -> Parametrized | None:
    """Read `value; name=value…` (RFC 2045 section 5.1); None for a field that is not there.

    RFC 2231's encoded parameters stay encoded, name and value: decoding them is the client's part.
    """
    if value is None:
        return None
    parameters = tuple(
        (match[1].lower(), _ESCAPED.sub(rb"\1", match[2]) if match[3] is None else match[3])
        for match in _PARAMETER.finditer(value)
    )
    return Parametrized(value.partition(b";")[0].strip().lower(), parameters)


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    parts: list[bytes] = []
    start: int | None = None
    for match in delimiter.finditer(body):
        if start is not None:
            parts.append(body[start : match.start()])
        if match[1]:
            return parts
        line_end = body.find(b"\n", match.end())
        start = line_end + 1 if line_end >= 0 else len(body)
    if start is not None:
        parts.append(body[start:])
    return parts
