"""One text part, from its transfer-encoded octets to the hosts in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlsgate.mail.surbl.charset import CharsetDecoder
from tlsgate.mail.surbl.finder import Finder, Found
from tlsgate.mail.surbl.markup import Markup
from tlsgate.mail.surbl.part_header import ANY_TYPE, PartHeader
from tlsgate.mail.surbl.transfer import TransferDecoder, transfer_decoders

_BLOCK = 8192
_MARKUP = re.compile(rb"text/(?:html|xml|.*\+xml)|(?:application|image)/(?:xml|.*\+xml)")


@dataclass(slots=True)
class Room:
    """What of a message's texts is still looked at, in octets. ``encoded``: as they come."""

    encoded: int = 4 * 1024**2
    decoded: int = 1024**2

    def __bool__(self) -> bool:
        return self.encoded > 0 and self.decoded > 0


class TextPart:
    """Takes a part's octets in pieces, cut anywhere: it works in blocks that don't depend on that."""

    def __init__(self, header: PartHeader, found: Found, room: Room) -> None:
        self._room = room
        self._readings = [
            _Reading(decoder, CharsetDecoder(header.charset), text(found))
            for text in _texts(header.media_type)
            for decoder in transfer_decoders(header.encoding)
        ]
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what comes next."""
        self._held += data
        at = 0
        while len(self._held) - at >= _BLOCK and self._room:
            self._block(bytes(self._held[at : at + _BLOCK]))
            at += _BLOCK
        del self._held[:at]
        if not self._room:
            self._held.clear()

    def finish(self) -> None:
        """The part is over."""
        if self._room:
            self._block(bytes(self._held))
        room = self._room.decoded
        self._room.decoded -= max(reading.finish(room) for reading in self._readings)

    def _block(self, data: bytes) -> None:
        """What is read in several ways is counted once."""
        room = self._room.decoded
        self._room.encoded -= len(data)
        self._room.decoded -= max(reading.feed(data, room) for reading in self._readings)


class _Reading:
    """A part as one reader has it. Each step takes how many octets may be looked at, and gives how many were."""

    def __init__(self, transfer: TransferDecoder, charset: CharsetDecoder, text: Finder | Markup) -> None:
        self._transfer = transfer
        self._charset = charset
        self._text = text

    def feed(self, data: bytes, room: int) -> int:
        return self._shown(self._transfer.decode(data), room)

    def finish(self, room: int) -> int:
        shown = self._shown(self._transfer.end(), room)
        self._text.feed(self._charset.decode(b"", final=True))
        self._text.finish()
        return shown

    def _shown(self, data: bytes, room: int) -> int:
        data = data[: max(room, 0)]
        if data:
            self._text.feed(self._charset.decode(data))
        return len(data)


def _texts(media_type: bytes) -> list[type[Finder] | type[Markup]]:
    """What reads a text of that type."""
    if media_type == ANY_TYPE:
        return [Finder, Markup]
    return [Markup] if _MARKUP.fullmatch(media_type) else [Finder]


def is_text(header: PartHeader) -> bool:
    """Whether readers show a part, or open it with a browser. Many show text that is attached, too."""
    kind = header.media_type
    return kind == ANY_TYPE or kind.startswith((b"text/", b"message/")) or _MARKUP.fullmatch(kind) is not None
