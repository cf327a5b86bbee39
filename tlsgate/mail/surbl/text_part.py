"""One text part, from its transfer-encoded octets to the hosts in it."""

from __future__ import annotations

from dataclasses import dataclass

from tlsgate.mail.surbl.charset import CharsetDecoder
from tlsgate.mail.surbl.finder import Finder, Found
from tlsgate.mail.surbl.markup import Markup
from tlsgate.mail.surbl.part_header import PartHeader
from tlsgate.mail.surbl.transfer import transfer_decoder

_BLOCK = 8192
_HTML = frozenset((b"text/html", b"application/xhtml+xml"))
_MESSAGES = frozenset((b"message/rfc822", b"message/global"))


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
        self._transfer = transfer_decoder(header.encoding)
        self._charset = CharsetDecoder(header.charset)
        self._text: Finder | Markup = Markup(found) if header.media_type in _HTML else Finder(found)
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
            self._shown(self._transfer.end())
        self._text.feed(self._charset.decode(b"", final=True))
        self._text.finish()

    def _block(self, data: bytes) -> None:
        self._room.encoded -= len(data)
        self._shown(self._transfer.decode(data))

    def _shown(self, data: bytes) -> None:
        data = data[: max(self._room.decoded, 0)]
        self._room.decoded -= len(data)
        if data:
            self._text.feed(self._charset.decode(data))


def is_text(header: PartHeader, whole: bool) -> bool:
    """Whether readers show a part, or open it with a browser. ``whole``: it is all that the message has.

    Text that is attached, such as a log, is a file like others: it may speak of any host.
    """
    if header.media_type in _HTML:
        return True
    if header.media_type.startswith(b"text/"):
        return whole or not header.attachment
    return header.media_type in _MESSAGES or header.media_type.startswith(b"multipart/")
