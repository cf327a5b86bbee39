"""An IMAP client's commands, each whole with its literals (RFC 9051 4.3, RFC 7888), and the replies to them.

``imap`` has the table of states, and what each command means.
"""

from __future__ import annotations

from abc import abstractmethod

from tlsgate.dialogue import sasl
from tlsgate.dialogue.authenticating import Awaited
from tlsgate.dialogue.buffer import LineTooLong
from tlsgate.dialogue.events import (
    NEED_DATA,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Ending,
    Granted,
    NeedData,
    Offer,
    Refused,
    Reply,
    ServerEvent,
)
from tlsgate.dialogue.foreign import TLS_HANDSHAKE_RECORD, is_foreign
from tlsgate.dialogue.imap_capabilities import capability_list
from tlsgate.dialogue.imap_syntax import LITERAL, Cursor, ImapSyntaxError, Literal
from tlsgate.dialogue.mail_access import MailAccess, State
from tlsgate.dialogue.replies import ENDINGS, REFUSALS, SASL_FAILURES

LONGEST_LITERAL = 4096  # RFC 7888 5: the bound of LITERAL-
_NO_CONNECTION = sasl.Connection()


class ImapSession(MailAccess):
    """One client."""

    def __init__(
        self, offer: Offer, channel: Channel, bounds: Bounds, connection: sasl.Connection = _NO_CONNECTION
    ) -> None:
        super().__init__(offer, channel, bounds, connection)
        self._pieces: list[bytes | Literal] = []
        self._size = 0
        self._literal: int | None = None
        self._tag = b"*"

    @abstractmethod
    def _command(self, verb: bytes, cursor: Cursor) -> ServerEvent:
        """What a command leads to; the cursor stands behind its name. Raises ImapSyntaxError."""

    # -- the caller's side --------------------------------------------------------------------------

    def greeting(self) -> bytes:
        """The first line of a connection (not sent again after STARTTLS)."""
        return b"* OK [CAPABILITY %s] %s ready\r\n" % (self._capabilities(), self._offer.hostname.encode())

    def ending(self, reason: Ending) -> bytes:
        """The line that ends the connection for a reason that the dialogue can't see (time, capacity)."""
        self.state = State.CLOSED
        words = ENDINGS[reason]
        code = f"[{words.imap}] " if words.imap else ""
        return f"* BYE {code}{words.text}\r\n".encode()

    # -- a command, whole ---------------------------------------------------------------------------

    def _receive(self) -> ServerEvent | NeedData:
        return self._receive_response() if self.state is Awaited.RESPONSE else self._receive_command()

    def _receive_command(self) -> ServerEvent | NeedData:
        if self._buffer.first() == TLS_HANDSHAKE_RECORD and not self._pieces:
            return self._close(Ending.FOREIGN_PROTOCOL)
        while True:
            if self._literal is not None:
                data = self._buffer.take(self._literal)
                if data is None:
                    return NEED_DATA
                self._pieces.append(Literal(data))
                self._literal = None
            try:
                line = self._buffer.line(self._longest_line - self._size)
            except LineTooLong:
                return self._close(Ending.LINE_TOO_LONG, b"* BAD Line too long\r\n")
            if line is None:
                return NEED_DATA
            self._size += len(line)
            found = LITERAL.search(line[:-2]) if line.endswith(b"}\r\n") else None
            if found is None:
                self._pieces.append(line)
                return self._whole_command()
            self._pieces.append(line[: found.start()])
            if (event := self._begin_literal(_literal_size(found[1]), bool(found[2]))) is not None:
                return event

    def _begin_literal(self, size: int, non_sync: bool) -> ServerEvent | None:
        """Whether to take a literal; refused synchronizing ones are never sent by the client."""
        if self._tally.command():  # each is answered, and one line's bound has room for a thousand
            return self._close(Ending.COMMANDS)
        too_long = size > min(LONGEST_LITERAL, self._longest_line - self._size)
        if non_sync:
            if too_long:
                return self._close(Ending.LITERAL_TOO_LONG)
        else:
            pieces = self._pieces
            if (refused := self._refuse_literal(pieces, too_long)) is not None:
                self._pieces, self._size = [], 0
                return refused
        self._size += size
        self._literal = size
        return None if non_sync else Reply(b"+ OK\r\n")

    def _refuse_literal(self, pieces: list[bytes | Literal], too_long: bool) -> ServerEvent | None:
        cursor = Cursor(pieces)
        try:
            self._tag = b"*"
            self._tag = _tag(cursor)
            verb = cursor.atom().upper()
        except ImapSyntaxError as error:
            return self._bad_command(str(error))
        if verb == b"LOGIN" and self._clear:
            return self._command(verb, cursor)
        if verb not in (b"LOGIN", b"ID"):
            return self._bad_command("No literal here")
        return self._reply(self._no("LIMIT", "Literal too long"), bad=True) if too_long else None

    def _whole_command(self) -> ServerEvent:
        pieces, self._pieces, self._size = self._pieces, [], 0
        self._tag = b"*"
        last = pieces[-1]
        if not isinstance(last, bytes) or not last.endswith(b"\r\n"):
            return self._bad_command("Line must end with CR LF")
        pieces[-1] = last[:-2]
        first = pieces[0]
        assert isinstance(first, bytes)  # noqa: S101 - a command begins with a line
        if is_foreign(first):
            return self._close(Ending.FOREIGN_PROTOCOL)
        if self._tally.command():
            return self._close(Ending.COMMANDS)
        cursor = Cursor(pieces)
        try:
            self._tag = _tag(cursor)
            return self._command(cursor.atom().upper(), cursor)
        except ImapSyntaxError as error:
            return self._bad_command(f"Syntax: {error}")

    def _receive_response(self) -> ServerEvent | NeedData:
        try:
            line = self._buffer.line(self._longest_line)
        except LineTooLong:
            return self._close(Ending.LINE_TOO_LONG, self._tagged(b"BAD", b"Line too long"))
        if line is None:
            return NEED_DATA
        self.state = State.COMMAND
        return self._step(self._sasl.respond(line))

    # -- replies ------------------------------------------------------------------------------------

    def _granted(self, granted: Granted) -> bytes:
        bracketed = f"[{granted.code}] " if granted.code else ""
        return self._tagged(b"OK", f"{bracketed}{granted.text or 'Logged in'}".encode())

    def _failure(self, failure: sasl.Failure) -> bytes:
        words = SASL_FAILURES[failure]
        return self._no(words.imap, words.text) if words.imap else self._tagged(b"BAD", words.text.encode())

    def _refusal(self, refused: Refused) -> bytes:
        words = REFUSALS[refused.reason]
        return self._no(words.imap, refused.text or words.text)

    def _cleartext(self, mechanism: str, user: str | None) -> ServerEvent:
        data = self._no("PRIVACYREQUIRED", "Authentication is refused before STARTTLS")
        if self._tally.bad():
            self.state, self._due = State.ENDING, Ending.BAD_COMMANDS
        return CleartextAuthRefused(data, mechanism, user)

    def _bad_command(self, text: str) -> ServerEvent:
        return self._reply(self._tagged(b"BAD", text.encode()), bad=True)

    def _reply(self, data: bytes, *, bad: bool) -> ServerEvent:
        if bad and self._tally.bad():
            return self._close(Ending.BAD_COMMANDS, data)
        return Reply(data)

    def _tagged(self, condition: bytes, text: bytes) -> bytes:
        # Words that aren't ours may end like a line before a literal.
        return b"%s %s %s%s\r\n" % (self._tag, condition, text, b"." if text.endswith(b"}") else b"")

    def _no(self, code: str, text: str) -> bytes:
        return self._tagged(b"NO", f"[{code}] {text}".encode())

    def _capabilities(self) -> bytes:
        return capability_list(self._offer, self._clear)


def _tag(cursor: Cursor) -> bytes:
    """A tag and the space behind it. A word alone is none and must not be said again: it may be a response of SASL
    whose command was refused. Raises ImapSyntaxError."""
    tag = cursor.tag()
    cursor.expect(b" ")
    return tag


def _literal_size(digits: bytes) -> int:
    # Twelve digits are more than any bound of ours; int() would take its time for thousands.
    return int(digits.lstrip(b"0")[:12] or b"0")
