"""A message that comes in chunks (RFC 3030 2: CHUNKING, BDAT), made one that DATA can carry to a backend.

A chunk's end means nothing in the message: it may be inside a line, or between CR and LF. The dots are stuffed by us.
"""

from __future__ import annotations

import re

from tlsgate.dialogue.events import LocalProtocolError
from tlsgate.dialogue.smtp_data import LONGEST_LINE, BodyDecoder, only_pairs
from tlsgate.dialogue.smtp_syntax import SmtpSyntaxError

# ASCII: without it "\u017f" is an "S".
_CHUNK = re.compile(r"([0-9]{1,20})( LAST)?", re.ASCII | re.IGNORECASE)
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# Whether a CR is bare, and whether a dot begins a line, is told by what follows.
_PREFIXES = (b"\r\n", b"\r")
_PREFIXES_WITH_LF = (*_PREFIXES, b"\n")


def chunk(argument: str) -> tuple[int, bool]:
    """The argument of BDAT: a chunk's octets, and whether it is the last. Raises SmtpSyntaxError.

    How many octets follow a wrong one is unknown: the connection can't go on behind it.
    """
    found = _CHUNK.fullmatch(argument)
    if found is None:
        raise SmtpSyntaxError("501 5.5.4", "Syntax: BDAT size [LAST]")
    return int(found[1]), found[2] is not None


class ChunkDecoder(BodyDecoder):
    """Takes a message's chunks, gives the octets of it for DATA, its last line ended, without the end of data.

    ``begin`` opens a chunk, ``feed`` is called until ``chunk_ended``: at least once, with nothing for an empty chunk.
    ``lacking``: the octets that the open chunk still lacks. ``ended``: the last chunk is whole. Chunks behind a fault
    are counted like any others, so that the next command is found. A line end that the message lacks is counted too.
    """

    __slots__ = ("_last", "chunk_ended", "lacking")

    def __init__(self, limit: int, *, normalize: bool = False, longest_line: int | None = LONGEST_LINE) -> None:
        super().__init__(limit, normalize=normalize, longest_line=longest_line)
        self._last = False
        self.chunk_ended = True
        self.lacking = 0

    def begin(self, size: int, last: bool) -> None:
        """Open a chunk of ``size`` octets. Raises LocalProtocolError inside a chunk or behind the last."""
        if self.ended or not self.chunk_ended:
            raise LocalProtocolError("a chunk can't begin here")
        self.lacking, self._last, self.chunk_ended = size, last, False

    def feed(self, data: bytes) -> bytes:
        """Take octets of the open chunk, give those that may be forwarded (maybe none).

        ``rest`` is then what is behind the chunk. Raises LocalProtocolError when none is open.
        """
        if self.chunk_ended:
            raise LocalProtocolError("no chunk is open")
        self.rest = data[self.lacking :]
        text = self._held + data[: self.lacking]
        self.lacking -= min(len(data), self.lacking)
        self.chunk_ended = not self.lacking
        self.ended = self.chunk_ended and self._last
        if not self.ended:
            text = self._hold(text, _PREFIXES_WITH_LF if self._normalize else _PREFIXES)
        if self._normalize and not only_pairs(text):
            text = _BARE.sub(b"\r\n", text)
        if self.ended and not text.endswith(b"\r\n"):
            text += b"\r\n"
        return self._checked(text.replace(b"\r\n.", b"\r\n.."))
