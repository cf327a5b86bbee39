"""Charsets, as far as hosts need them: nearly all are ASCII where it matters."""

from __future__ import annotations

import codecs

_UTF8 = frozenset((b"", b"us-ascii", b"ascii", b"utf-8", b"utf8"))
_UTF16 = frozenset((b"utf-16", b"utf16", b"utf-16le", b"utf-16be"))
_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class CharsetDecoder:
    """Decodes a part's text, piece by piece. What can't be decoded is replaced.

    ``charset``: lower-case; b"" for none. UTF-8 and UTF-16 are decoded, others are taken for Latin-1. Characters of
    NUL are dropped, so that ASCII is found in UTF-16 and UTF-32 under other names too.
    """

    def __init__(self, charset: bytes) -> None:
        self._charset = charset
        self._decoder: codecs.IncrementalDecoder | None = None

    def decode(self, data: bytes, *, final: bool = False) -> str:
        """The characters that are complete."""
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder(self._codec(data))("replace")
        text = self._decoder.decode(data, final)
        return text.replace("\0", "") if "\0" in text else text

    def _codec(self, beginning: bytes) -> str:
        if self._charset in _UTF8:
            return "utf-8"
        if self._charset not in _UTF16:
            return "latin-1"
        # Names and marks lie: what most readers go by is where the zeros are.
        little = beginning[1::2].count(0) > beginning[::2].count(0)
        return _MARKS.get(beginning[:2], "utf-16-le" if little else "utf-16-be")
