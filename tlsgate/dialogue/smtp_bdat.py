"""The chunks of one mail transaction, as BDAT announces them (RFC 3030 2)."""

from __future__ import annotations

from tlsgate.dialogue.buffer import ReceiveBuffer
from tlsgate.dialogue.smtp_chunks import ChunkDecoder
from tlsgate.dialogue.smtp_data import BodyFault


class Chunks:
    """Each chunk is announced, then taken or refused, and read until it is ``whole``.

    Refused chunks are read off like others: the client may have sent them without waiting (RFC 3030 4.2), and what
    they hold must never be read as commands.

    ``used``: a chunk has been announced. ``announced``: the octets of all chunks, of refused ones too. ``begun``: one
    has come within a transaction. ``failed``: one of those was refused, and so are all behind it. ``refusal``: of the
    chunk that is read off.
    """

    __slots__ = ("_decoder", "_skip", "announced", "begun", "failed", "last", "refusal", "size", "used")

    def __init__(self, decoder: ChunkDecoder) -> None:
        self._decoder = decoder
        self._skip = 0
        self.announced = 0
        self.begun = self.failed = self.used = False
        self.size, self.last = 0, False
        self.refusal = b""

    def announce(self, size: int, last: bool) -> None:
        """A BDAT command has come; the chunk before it must be whole."""
        self.size, self.last, self.used = size, last, True
        self.announced += size

    def take(self) -> None:
        """The announced chunk is one of the message's."""
        self._decoder.begin(self.size, self.last)

    def refuse(self, said: bytes) -> None:
        """The announced chunk isn't; ``said`` is to be said behind it."""
        self.failed = self.begun
        self._skip, self.refusal = self.size, said

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """Take what is here of the chunk that was taken, give what may be passed on of the message (maybe none)."""
        octets = buffer.take_most(self._decoder.lacking)
        return b"" if self._decoder.chunk_ended else self._decoder.feed(octets)

    def skip(self, buffer: ReceiveBuffer) -> None:
        """Take what is here of the chunk that was refused."""
        self._skip -= len(buffer.take_most(self._skip))

    @property
    def whole(self) -> bool:
        """Whether the announced chunk has been read to its end."""
        return self._decoder.chunk_ended and not self._skip

    @property
    def message(self) -> tuple[int, BodyFault | None]:
        """The message behind its last chunk: its octets, and why it can't stand."""
        return self._decoder.size, self._decoder.fault
