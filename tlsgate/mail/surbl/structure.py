"""A message's parts (RFC 2046 5.1, 5.2.1), found while it streams: each leaf's octets go where its header says.

What is beyond the bounds isn't lost: parts nested too deep, and all that follows the last part or the longest header,
are plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from tlsgate.mail.surbl.part_header import ANY_TYPE, HeaderReader, PartHeader
from tlsgate.mail.surbl.transfer import ANY_PARTS

_DEPTH = 10
_PARTS = 100
_HEADERS = 256 * 1024  # octets of all headers together
_LINE = 8192  # of a header: longer ones are taken in pieces
_BOUNDARY = 200  # RFC 2046 5.1.1 allows 70
_DELIMITER = 512  # more than any delimiter line takes
_PLAIN = PartHeader()
_GUESSED = PartHeader(ANY_TYPE, encoding=ANY_PARTS, unsure=True)
_MESSAGES = frozenset((b"message/rfc822", b"message/global"))
_ENCODED = frozenset((b"base64", b"quoted-printable"))
_ANY = b"\n"
"""Stands for a boundary that can't be read: each line that looks like a delimiter is taken for one."""
_ANY_BOUNDARY = rb"[!-~][^\r\n]{0,199}+"


class Leaf(Protocol):
    """Takes a part's octets in pieces, still transfer-encoded."""

    def feed(self, data: bytes) -> None: ...
    def finish(self) -> None: ...


Open = Callable[[PartHeader], Leaf | None]
"""Gives what takes a leaf's octets, None when nobody wants them."""


class Structure:
    """Takes a message in pieces, cut anywhere. ``beyond``: whether a bound was met, or something is guessed."""

    def __init__(self, open_leaf: Open) -> None:
        self._open = open_leaf
        self._held = b""
        self._reader: HeaderReader | None = HeaderReader()
        self._line_begins = True
        self._boundaries: list[bytes] = []  # b"" for a message in a message
        self._inner_type = [b"text/plain"]
        self._delimiter: re.Pattern[bytes] | None = None
        self._next: re.Pattern[bytes] | None = None
        self._leaf: Leaf | None = None
        self._parts = 1
        self._room = _HEADERS
        self.beyond = False

    def feed(self, data: bytes) -> None:
        """Take what comes next."""
        text = self._held + data
        at: int | None = 0
        done = 0
        while at is not None and done < len(text):
            at = self._body(text, done) if self._reader is None else self._header(text, done, self._reader)
            done = done if at is None else at
        self._held = text[done:]

    def finish(self) -> None:
        """The message is over, whatever is open."""
        if self._held:
            self.feed(b"\r\n")
        if self._held:  # a delimiter's beginning
            self._give(self._held)
            self._held = b""
        if self._reader is not None:
            self._end_header(self._reader)
        self._close_leaf()

    # -- a step: from ``at`` to where the next one begins, or None for more octets --------------------

    def _header(self, text: bytes, at: int, reader: HeaderReader) -> int | None:
        end = text.find(b"\n", at, at + _LINE) + 1
        if not end and len(text) - at < _LINE:
            return None
        line = text[at : end or at + _LINE]
        if self._line_begins:
            if line in (b"\r\n", b"\n"):
                self._end_header(reader)
                return at + len(line)
            if self._delimiter is not None and (found := self._delimiter.match(text, at)):
                self._end_header(reader)
                return self._delimit(found)
        self._room -= len(line)
        belongs = True
        if self._line_begins:
            belongs = reader.line(line)
        else:
            reader.more(line)
        self._line_begins = bool(end)
        if belongs and self._room > 0:
            return at + len(line)
        if belongs:
            self._give_up()
        else:  # the blank line is missing: servers and readers put it here
            self._end_header(reader)
        return at

    def _body(self, text: bytes, at: int) -> int | None:
        if self._delimiter is None or self._next is None:
            self._give(text[at:])
            return len(text)
        if self._line_begins and (found := self._delimiter.match(text, at)):
            return self._delimit(found)
        if found := self._next.search(text, at):
            self._give(text[at : found.start() + 1])
            self._line_begins = True
            return found.start() + 1
        last = text.rfind(b"\n", at) + 1
        begins = bool(last) or self._line_begins
        last = last or at
        rest = len(text) - last
        if begins and (rest == 0 or (rest < _DELIMITER and b"--" in (text[last : last + 2], text[last:] + b"-"))):
            self._line_begins = True
            if last == at:
                return None
        else:
            self._line_begins = False
            last = len(text)
        self._give(text[at:last])
        return last

    def _delimit(self, found: re.Match[bytes]) -> int:
        """A delimiter ends what is open below its multipart, and begins a part unless it closes the multipart."""
        boundary = found[1]
        if boundary is None:  # it may be text as well
            boundary = _ANY
            self._give(found[0])
        self._close_leaf()
        self._reader = None
        level = len(self._boundaries) - 1 - self._boundaries[::-1].index(boundary)
        kept = level if found[2] else level + 1
        self._nest(self._boundaries[:kept], self._inner_type[: kept + 1])
        self._line_begins = True
        if found[2]:
            self._leaf = self._open(_PLAIN)  # what no reader shows, or each
        elif self._parts >= _PARTS:
            self._give_up()
        else:
            self._begin_part()
        return found.end()

    # -- parts --------------------------------------------------------------------------------------

    def _begin_part(self) -> None:
        self._parts += 1
        self._line_begins = True
        self._reader = HeaderReader(self._inner_type[-1])

    def _end_header(self, reader: HeaderReader) -> None:
        header = reader.header()
        self._reader = None
        self._line_begins = True
        guessing = _ANY in self._boundaries
        if guessing and not header.encoding:  # it may be another part's text that goes on here
            header = replace(header, encoding=ANY_PARTS)
        multipart = header.media_type.startswith(b"multipart/")
        message = header.media_type in _MESSAGES and header.encoding not in _ENCODED
        unclear = multipart and not 0 < len(header.boundary) <= _BOUNDARY
        self.beyond = self.beyond or unclear or header.unsure
        if unclear and guessing:
            self._leaf = self._open(replace(header, media_type=ANY_TYPE))
        elif (multipart or message) and len(self._boundaries) >= _DEPTH:
            self.beyond = True
            self._leaf = self._open(_GUESSED)
        elif multipart:
            inner = b"message/rfc822" if header.media_type == b"multipart/digest" else b"text/plain"
            inner = ANY_TYPE if unclear else inner
            self._nest([*self._boundaries, _ANY if unclear else header.boundary], [*self._inner_type, inner])
            self._leaf = self._open(_GUESSED if unclear else _PLAIN)
        elif not message:
            self._leaf = self._open(header)
        elif self._parts >= _PARTS:
            self._give_up()
        else:
            self._nest([*self._boundaries, b""], [*self._inner_type, b"text/plain"])
            self._begin_part()

    def _give_up(self) -> None:
        """All that follows is text, encoded or not."""
        self.beyond = True
        self._reader = None
        self._nest([], [b"text/plain"])
        self._leaf = self._open(_GUESSED)

    def _nest(self, boundaries: list[bytes], inner_type: list[bytes]) -> None:
        self._inner_type = inner_type
        if boundaries == self._boundaries:
            return
        self._boundaries = boundaries
        known = sorted({each for each in boundaries if each not in (b"", _ANY)}, key=len, reverse=True)
        lines = [rb"(%b)(--)?[ \t]{0,100}" % (b"|".join(map(re.escape, known)) or rb"(?!)")]
        if _ANY in boundaries:
            lines += [_ANY_BOUNDARY]
        if not known and _ANY not in boundaries:
            self._delimiter = self._next = None
            return
        line = rb"--(?:%b)\r?\n" % b"|".join(lines)
        self._delimiter, self._next = re.compile(line), re.compile(b"\n" + line)

    def _give(self, data: bytes) -> None:
        if self._leaf is not None and data:
            self._leaf.feed(data)

    def _close_leaf(self) -> None:
        if self._leaf is not None:
            self._leaf.finish()
            self._leaf = None
