"""An SMTP client's command lines, and the commands that are no part of a mail transaction (RFC 5321 3.1; RFC 3207).

State     what may come                            goes to
START     EHLO, HELO                               GREETED, READY
GREETED   STARTTLS (clear), AUTH (submission)      RESPONSE, SECRET, VERDICT, CLOSED
RESPONSE  one base64 line, or "*"                  GREETED, RESPONSE, SECRET, VERDICT
SECRET    nothing: the caller gives a secret       RESPONSE
VERDICT   nothing: the caller answers credentials  READY, GREETED, RESPONSE, ENDING
READY     MAIL                                     PENDING
MAIL      RCPT, DATA, BDAT                         PENDING, CHUNK, SKIP
PENDING   nothing: the caller answers a command    READY, MAIL, BODY, CHUNK, SKIP, ENDING, CLOSED
BODY      octets up to the end of data             PENDING
CHUNK     as many octets as BDAT has said          MAIL, PENDING
SKIP      the same, of a chunk that was refused    MAIL, READY
ENDING    nothing: one Close event is due          CLOSED
CLOSED    nothing

EHLO, HELO, RSET, NOOP, HELP, VRFY, STARTTLS and QUIT are answered in START, GREETED, READY and MAIL. ``smtp`` and
``smtp_message`` have the transaction. Who may come to READY, and how, is all that ``submission`` and ``mx`` have of
their own.
"""

from __future__ import annotations

import enum
import re
from abc import ABC, abstractmethod
from collections.abc import Callable

from tlsgate.dialogue.authenticating import Awaited
from tlsgate.dialogue.buffer import LineTooLong, ReceiveBuffer
from tlsgate.dialogue.events import (
    NEED_DATA,
    Bounds,
    Channel,
    Close,
    Ending,
    NeedData,
    Offer,
    Reply,
    ServerEvent,
    StartTls,
)
from tlsgate.dialogue.foreign import TLS_HANDSHAKE_RECORD, is_foreign
from tlsgate.dialogue.replies import ENDINGS
from tlsgate.dialogue.smtp_events import Abandon, MailEvent
from tlsgate.dialogue.smtp_offer import CARRIED, ehlo_reply, offered
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import SmtpSyntaxError, ehlo_name
from tlsgate.dialogue.tally import Tally

_GREETS = re.compile(rb"(?:EHLO|HELO) ", re.IGNORECASE)


class State(enum.Enum):
    """See the module's table; RESPONSE, SECRET and VERDICT are an exchange's."""

    START = enum.auto()
    GREETED = enum.auto()
    READY = enum.auto()
    MAIL = enum.auto()
    PENDING = enum.auto()
    BODY = enum.auto()
    CHUNK = enum.auto()
    SKIP = enum.auto()
    ENDING = enum.auto()
    CLOSED = enum.auto()


class SmtpSession(ABC):
    """One client. ``offer.capabilities``: the backend's EHLO keywords with their parameters; ``size``: a message's."""

    state: State | Awaited

    def __init__(self, offer: Offer, channel: Channel, bounds: Bounds, size: int) -> None:
        self._offer = offer
        self._clear = channel is Channel.CLEARTEXT
        self._longest_line = bounds.line_length
        self._tally = Tally(bounds)
        self._buffer = ReceiveBuffer()
        # ``_extensions``: what the client may use; ``_lacking``: what the next EHLO leaves out of it.
        self._size, self._keywords, self._extensions = offered(offer, self._channel_keyword(), size)
        self._lacking: frozenset[str] = frozenset()
        self._due = Ending.BAD_COMMANDS
        self.state = State.START
        self.client_name = ""
        self.esmtp = False

    # -- what those that build on this have of their own --------------------------------------------

    @property
    @abstractmethod
    def _open(self) -> bool:
        """Whether mail may be sent in this dialogue, as it stands: READY and all behind it."""

    @abstractmethod
    def _channel_keyword(self) -> str:
        """What EHLO says of STARTTLS and AUTH, "" for nothing."""

    @abstractmethod
    def _closed(self) -> ServerEvent:
        """The refusal of a command that isn't for this client as it stands."""

    @abstractmethod
    def _auth(self, argument: str) -> ServerEvent: ...

    @abstractmethod
    def _counts(self, verb: str) -> bool:
        """Whether the command that has come is one too many; it is counted."""

    @abstractmethod
    def _forget(self) -> None:
        """Nothing of a transaction is left."""

    # -- the caller's side --------------------------------------------------------------------------

    def greeting(self) -> bytes:
        """The first line of a connection (not sent again after STARTTLS)."""
        return f"220 {self._offer.hostname} ESMTP ready\r\n".encode()

    def ending(self, reason: Ending, which: str = "") -> bytes:
        """The line that ends the connection for a reason that the dialogue can't see (time, capacity).

        ``which``: a name that belongs to the reason, as a block list's; printable.
        """
        self.state = State.CLOSED
        words = ENDINGS[reason]
        text = f"{words.text}: {which}" if which else words.text
        return reply(words.smtp, f"{self._offer.hostname} {text}").encode()

    def receive(self, data: bytes) -> None:
        """Append what came from the client."""
        self._buffer.append(data)

    def shorten(self, keywords: frozenset[str]) -> None:
        """This session's backend has these extensions (its EHLO may say less than was learned): offer no more of them.

        What the client was offered it may use until its next EHLO: events may carry what this backend lacks.
        """
        self._lacking |= CARRIED - keywords

    # -- lines --------------------------------------------------------------------------------------

    def _receive_line(self) -> ServerEvent | MailEvent | NeedData:
        if self._buffer.first() == TLS_HANDSHAKE_RECORD:
            return self._close(Ending.FOREIGN_PROTOCOL)
        try:
            line = self._buffer.line(self._longest_line)
        except LineTooLong:
            return self._close(Ending.LINE_TOO_LONG)
        if line is None:
            return NEED_DATA
        return self._take_line(line)

    def _take_line(self, line: bytes) -> ServerEvent | MailEvent | NeedData:
        if is_foreign(line):
            return self._close(Ending.FOREIGN_PROTOCOL)
        whole = line[:-2] if line.endswith(b"\r\n") else b"\r"
        if b"\r" in whole or b"\0" in whole:
            return self._bad("500 5.5.2", "Line must end with CR LF and hold no control characters")
        try:
            # A client's name may be in any old code page.
            text = whole.decode(errors="replace" if _GREETS.match(whole) else "strict")
        except UnicodeDecodeError:
            return self._bad("500 5.5.2", "Line is not UTF-8")
        # White space at the end means nothing (RFC 5321 4.1.1).
        verb, _, argument = text.rstrip(" \t").partition(" ")
        verb = verb.upper()
        if self._counts(verb):
            return self._close(Ending.COMMANDS)
        try:
            return self._command(verb, argument)
        except SmtpSyntaxError as error:
            return self._bad(error.code, error.text)

    # -- commands -----------------------------------------------------------------------------------

    def _command(self, verb: str, argument: str) -> ServerEvent | MailEvent | NeedData:
        """What a command leads to. Raises SmtpSyntaxError."""
        handler = _COMMANDS.get(verb)
        return handler(self, argument) if handler else self._bad("500 5.5.1", "Unknown command")

    def _ehlo(self, argument: str) -> ServerEvent | MailEvent:
        self.client_name, self.esmtp = ehlo_name(argument), True
        self._extensions -= self._lacking
        self._keywords = tuple(word for word in self._keywords if word not in self._lacking)
        return self._begin(ehlo_reply(self._offer.hostname, self._keywords))

    def _helo(self, argument: str) -> ServerEvent | MailEvent:
        self.client_name, self.esmtp = ehlo_name(argument), False
        return self._begin(SmtpReply(250, (self._offer.hostname,)).encode())

    def _begin(self, data: bytes) -> ServerEvent | MailEvent:
        return self._leave(State.READY if self._open else State.GREETED, data)

    def _rset(self, argument: str) -> ServerEvent | MailEvent:
        if argument:
            return self._bad("501 5.5.4", "RSET takes no argument")
        return self._leave(State.READY if self._open else self.state, reply("250 2.0.0", "Ok").encode())

    def _leave(self, state: State | Awaited, data: bytes) -> ServerEvent | MailEvent:
        """Leave the transaction, if one is under way, for ``state``."""
        abandoned = self.state is State.MAIL
        self._forget()
        self.state = state
        return Abandon(data) if abandoned else Reply(data)

    def _noop(self, _argument: str) -> ServerEvent:
        return Reply(reply("250 2.0.0", "Ok").encode())

    def _help(self, _argument: str) -> ServerEvent:
        return Reply(reply("214 2.0.0", "See RFC 5321 and RFC 6409").encode())

    def _vrfy(self, argument: str) -> ServerEvent:
        if not argument:
            return self._bad("501 5.5.4", "VRFY needs an address")
        return Reply(reply("252 2.0.0", "Cannot verify, but will try to deliver").encode())

    def _quit(self, argument: str) -> ServerEvent:
        if argument:
            return self._bad("501 5.5.4", "QUIT takes no argument")
        return self._close(Ending.LOGOUT)

    def _not_here(self, _argument: str) -> ServerEvent:
        return self._bad("502 5.5.1", "Not implemented") if self._open else self._closed()

    def _not_yours(self, _argument: str) -> ServerEvent:
        return self._bad("550 5.7.0", "Not permitted")

    def _starttls(self, argument: str) -> ServerEvent:
        if argument:
            return self._bad("501 5.5.4", "STARTTLS takes no argument")
        if not self._clear:
            return self._bad("503 5.5.1", "TLS is active already")
        if len(self._buffer):
            return self._close(Ending.STARTTLS_INJECTION)
        self.state = State.CLOSED
        return StartTls(reply("220 2.0.0", "Ready to start TLS").encode())

    # -- replies ------------------------------------------------------------------------------------

    def _bad(self, code: str, text: str) -> ServerEvent:
        data = reply(code, text).encode()
        return self._close(Ending.BAD_COMMANDS, data) if self._tally.bad() else Reply(data)

    def _close(self, reason: Ending, before: bytes = b"") -> Close:
        return Close(before + self.ending(reason), reason)


_COMMANDS: dict[str, Callable[[SmtpSession, str], ServerEvent | MailEvent]] = {
    "EHLO": SmtpSession._ehlo,
    "HELO": SmtpSession._helo,
    "RSET": SmtpSession._rset,
    "NOOP": SmtpSession._noop,
    "HELP": SmtpSession._help,
    "VRFY": SmtpSession._vrfy,
    "QUIT": SmtpSession._quit,
    "STARTTLS": SmtpSession._starttls,
    "AUTH": lambda dialogue, argument: dialogue._auth(argument),
    **dict.fromkeys(("EXPN", "ETRN", "TURN"), SmtpSession._not_here),
    **dict.fromkeys(("XCLIENT", "XFORWARD", "PROXY"), SmtpSession._not_yours),
}
