"""The content of a message: DATA or BDAT, and what comes behind them (RFC 5321 4.1.1.4, RFC 3030).

``smtp_session`` has the table of states, ``smtp`` the commands before these.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from tlsgate.dialogue.events import (
    NEED_DATA,
    Bounds,
    Channel,
    Ending,
    LocalProtocolError,
    NeedData,
    Offer,
    Reply,
    ServerEvent,
)
from tlsgate.dialogue.smtp_bdat import Chunks
from tlsgate.dialogue.smtp_chunks import ChunkDecoder, chunk
from tlsgate.dialogue.smtp_data import LONGEST_LINE, BodyDecoder, DataDecoder
from tlsgate.dialogue.smtp_events import Body, Data, EndOfData, Mail, MailEvent, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_session import SmtpSession, State
from tlsgate.dialogue.smtp_syntax import SmtpSyntaxError

TOO_LARGE = "Message is larger than this server takes"
_Decoder = TypeVar("_Decoder", bound=BodyDecoder)

# Octets of a message that are looked at in one go: what is made of the worst of them takes some milliseconds.
_PIECE = 65536


class MessageRules(Struct, frozen=True):
    """What a message may be. ``size``: the most octets; ``recipients``: the most of them.

    ``normalize``: bare CRs and LFs are made CR LF, and are no fault. ``longest_line``: in octets, None for any.
    """

    size: int
    recipients: int
    normalize: bool = False
    longest_line: int | None = LONGEST_LINE


class SmtpMessage(SmtpSession):
    """One client's transaction from DATA or the first BDAT to its end, and how many refusals it may get."""

    def __init__(self, offer: Offer, channel: Channel, bounds: Bounds, rules: MessageRules) -> None:
        super().__init__(offer, channel, bounds, rules.size)
        self._rules = rules
        # What a transaction brings with it are no bad commands: every recipient may be wrong, and DATA too then. Who
        # goes on behind that is guessing addresses.
        self._most_refusals = max(bounds.bad_commands, rules.recipients + 1)
        self._refusals = 0
        self._asked: Mail | Rcpt | Data | EndOfData | None = None
        self._sender_refused = False
        self._recipients = 0  # that stand
        self._decoder: DataDecoder | None = None
        self._chunks = Chunks(self._new(ChunkDecoder))

    # -- DATA ---------------------------------------------------------------------------------------

    def _data(self, argument: str) -> ServerEvent | MailEvent:
        if not self._open:
            return self._before_body(self._closed())
        if argument:
            return self._before_body(self._bad("501 5.5.4", "DATA takes no argument"))
        if self.state is not State.MAIL:
            return self._before_body(self._no_sender())
        if self._chunks.begun:
            return self._before_body(self._bad("503 5.5.1", "DATA can't follow BDAT"))
        if not self._recipients:
            return self._before_body(self._refuse("554 5.5.1", "No valid recipients"))
        return self._ask(Data())

    def _before_body(self, said: ServerEvent) -> ServerEvent:
        """A refusal of DATA: a body sent without waiting for it must never be read as commands (D19)."""
        if len(self._buffer) and isinstance(said, Reply):
            return self._close(Ending.BAD_COMMANDS, said.data)
        return said

    def _answer_data(self, said: SmtpReply) -> bytes:
        self.state = State.MAIL
        if not said.positive and self._refuses():
            self._end()
        elif self._chunks.begun:
            return self._answer_first_chunk(said)
        elif said.positive:
            self.state, self._decoder = State.BODY, self._new(DataDecoder)
        elif len(self._buffer):  # as in _before_body
            self._end()
        return said.encode()

    def _receive_body(self) -> MailEvent | ServerEvent | NeedData:
        decoder = self._decoder
        if decoder is None:
            raise LocalProtocolError("no body is due")
        if not decoder.ended:
            if not len(self._buffer):
                return NEED_DATA
            data = decoder.feed(self._buffer.take_most(_PIECE))
            if decoder.ended:
                self._buffer.put_back(decoder.rest)
            if data:
                return Body(data)
            if decoder.size > 2 * self._size:
                return self._close(Ending.MESSAGE_TOO_LARGE)
        return self._ask(EndOfData(decoder.size, decoder.fault)) if decoder.ended else NEED_DATA

    # -- BDAT ---------------------------------------------------------------------------------------

    def _bdat(self, argument: str) -> ServerEvent | MailEvent | NeedData:
        if not self._open or not self.esmtp:
            return self._cut(self._bad("503 5.5.1", "EHLO first") if self._open else self._closed())
        try:
            size, last = chunk(argument)
        except SmtpSyntaxError as error:
            return self._cut(self._bad(error.code, error.text))
        chunks = self._chunks
        chunks.announce(size, last)
        if chunks.announced > 2 * self._size:
            return self._close(Ending.MESSAGE_TOO_LARGE, reply("552 5.3.4", TOO_LARGE).encode())
        if self.state is not State.MAIL:
            return self._refuse_chunk(reply("503 5.5.1", "MAIL first"))
        if chunks.failed:
            return self._refuse_chunk(reply("503 5.5.1", "Transaction failed, RSET first"))
        if not self._recipients:
            return self._refuse_chunk(reply("554 5.5.1", "No valid recipients"))
        if not size and not last and self._tally.bad():
            return self._close(Ending.BAD_COMMANDS)
        if not chunks.begun:
            chunks.begun = True
            return self._ask(Data())
        chunks.take()
        self.state = State.CHUNK
        return self._receive_chunk()

    def _cut(self, said: ServerEvent) -> ServerEvent:
        """A refusal of a chunk that can't be told from the commands behind it."""
        return self._close(Ending.BAD_COMMANDS, said.data) if isinstance(said, Reply) else said

    def _answer_first_chunk(self, said: SmtpReply) -> bytes:
        """The reply to a chunk follows its octets."""
        if said.positive:
            self._chunks.take()
            self.state = State.CHUNK
        else:
            self._chunks.refuse(said.encode())
            self.state = State.SKIP
        return b""

    def _receive_chunk(self) -> MailEvent | ServerEvent | NeedData:
        chunks = self._chunks
        if data := chunks.read(self._buffer):
            return Body(data)
        if not chunks.whole:
            return NEED_DATA
        if chunks.last:
            return self._ask(EndOfData(*chunks.message))
        self.state = State.MAIL
        return Reply(reply("250 2.0.0", f"{chunks.size} octets received").encode())

    def _refuse_chunk(self, refusal: SmtpReply) -> ServerEvent | MailEvent | NeedData:
        said = refusal.encode()
        if self._refuses():
            return self._close(Ending.BAD_COMMANDS, said)
        self._chunks.begun = self.state is State.MAIL
        self._chunks.refuse(said)
        self.state = State.SKIP
        return self._skip_chunk()

    def _skip_chunk(self) -> ServerEvent | MailEvent | NeedData:
        chunks = self._chunks
        chunks.skip(self._buffer)
        if not chunks.whole:
            return NEED_DATA
        self.state = State.MAIL if chunks.failed else State.READY
        # The last chunk ends the transaction: a message that was pipelined behind it is another one.
        return self._leave(State.READY, chunks.refusal) if chunks.last else Reply(chunks.refusal)

    # -- what the commands of a transaction have in common ------------------------------------------

    def _ask(self, command: Mail | Rcpt | Data | EndOfData) -> MailEvent:
        self.state = State.PENDING
        self._asked = command
        return command

    def _forget(self) -> None:
        self._sender_refused = False
        self._recipients = 0
        if self._chunks.used:
            self._chunks = Chunks(self._new(ChunkDecoder))

    def _no_sender(self) -> ServerEvent:
        """RCPT or DATA without a MAIL that stands. Behind a refused one a client that pipelines can't but say them."""
        return (self._refuse if self._sender_refused else self._bad)("503 5.5.1", "MAIL first")

    def _refuse(self, code: str, text: str) -> ServerEvent:
        data = reply(code, text).encode()
        return self._close(Ending.BAD_COMMANDS, data) if self._refuses() else Reply(data)

    def _refuses(self) -> bool:
        """Count one more refusal; whether it is one too many."""
        self._refusals += 1
        return self._refusals > self._most_refusals

    def _end(self) -> None:
        self.state, self._due = State.ENDING, Ending.BAD_COMMANDS

    def _new(self, decoder: type[_Decoder]) -> _Decoder:
        return decoder(self._size, normalize=self._rules.normalize, longest_line=self._rules.longest_line)
