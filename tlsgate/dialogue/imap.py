"""IMAP, the server's side before login (RFC 9051, RFC 3501; RFC 2595 STARTTLS, 4959 SASL-IR, 7888 LITERAL-, 2971 ID).

State   what may come                          goes to
COMMAND a command, whole with its literals     COMMAND, SASL, SECRET, VERDICT, CLOSED
SASL    one base64 line, or "*"                COMMAND, SASL, SECRET, VERDICT
SECRET  nothing: the caller gives a secret     SASL
VERDICT nothing: the caller answers credentials COMMAND, GRANTED, ENDING
ENDING  nothing: one Close event is due        CLOSED
GRANTED nothing: handover() gives the rest
CLOSED  nothing

On a cleartext channel no credentials event exists: LOGIN and AUTHENTICATE are refused before a continuation is sent.
After STARTTLS the caller makes a new object on an encrypted channel; no state of this one survives.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache

from tlsgate.dialogue import sasl
from tlsgate.dialogue.authenticating import Authenticating, Awaited
from tlsgate.dialogue.buffer import LineTooLong, ReceiveBuffer
from tlsgate.dialogue.challenge import encode
from tlsgate.dialogue.credentials import CredentialsError, credentials, readable_user
from tlsgate.dialogue.events import (
    NEED_DATA,
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Close,
    Ending,
    Granted,
    LocalProtocolError,
    NeedData,
    Offer,
    Refused,
    Reply,
    ServerEvent,
    StartTls,
    Verdict,
)
from tlsgate.dialogue.foreign import TLS_HANDSHAKE_RECORD, is_foreign
from tlsgate.dialogue.imap_syntax import LITERAL, Cursor, ImapSyntaxError, Literal
from tlsgate.dialogue.replies import ENDINGS, REFUSALS, SASL_FAILURES
from tlsgate.dialogue.tally import Tally

LONGEST_LITERAL = 4096  # RFC 7888 5: the bound of LITERAL-
_ID_FIELDS = 30  # RFC 2971 3.3
_ID_FIELD = 30
_ID_VALUE = 1024
# What a backend offers but a client must not see before login: ours to say, or not possible through the gate.
_NOT_OFFERED = {
    "STARTTLS",
    "LOGINDISABLED",
    "SASL-IR",
    "LITERAL+",
    "LITERAL-",
    "ID",
    "UNAUTHENTICATE",
    "IMAP4REV1",
}
_NO_CONNECTION = sasl.Connection()
_NOT_OFFERED_KINDS = ("AUTH=", "LOGIN-REFERRALS", "COMPRESS=", "SASL-")


class State(enum.Enum):
    """See the module's table."""

    COMMAND = enum.auto()
    SASL = enum.auto()
    SECRET = enum.auto()
    VERDICT = enum.auto()
    ENDING = enum.auto()
    GRANTED = enum.auto()
    CLOSED = enum.auto()


_AWAITING = {Awaited.RESPONSE: State.SASL, Awaited.SECRET: State.SECRET, Awaited.VERDICT: State.VERDICT}
_AWAITED = {state: awaited for awaited, state in _AWAITING.items()}


class Imap(Authenticating):
    """One IMAP client before login.

    ``offer``: what CAPABILITY shows. ``channel``: clear text, where only STARTTLS leads on, or TLS. ``connection``:
    what mechanisms make use of.
    """

    def __init__(
        self, offer: Offer, channel: Channel, bounds: Bounds, connection: sasl.Connection = _NO_CONNECTION
    ) -> None:
        self._offer = offer
        self._clear = channel is Channel.CLEARTEXT
        self._longest_line = bounds.line_length
        self._buffer = ReceiveBuffer()
        self.state = State.COMMAND
        self.client_id: tuple[tuple[str, str | None], ...] = ()
        self._pieces: list[bytes | Literal] = []
        self._size = 0
        self._literal: int | None = None
        self._tag = b"*"
        self._sasl = sasl.Authentication(offer.mechanisms, connection)
        self._tally = Tally(bounds)
        self._due = Ending.AUTH_ATTEMPTS

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

    def receive(self, data: bytes) -> None:
        """Append what came from the client."""
        self._buffer.append(data)

    def next_event(self) -> ServerEvent | NeedData:
        """The next event, or NEED_DATA. Raises LocalProtocolError while a verdict is due or after the end."""
        match self.state:
            case State.COMMAND:
                return self._receive_command()
            case State.SASL:
                return self._receive_response()
            case State.ENDING:
                return self._close(self._due)
            case State.SECRET | State.VERDICT | State.GRANTED | State.CLOSED:
                raise LocalProtocolError(f"no event in state {self.state.name}")

    def send(self, verdict: Verdict) -> bytes:
        """Answer an Authenticate event. Raises LocalProtocolError when none is open."""
        if self.state is not State.VERDICT:
            raise LocalProtocolError("no credentials wait for a verdict")
        match verdict:
            case Granted(text, code):
                self.state = State.GRANTED
                bracketed = f"[{code}] " if code else ""
                return self._tagged(b"OK", f"{bracketed}{text or 'Logged in'}".encode())
            case Refused():
                return self._deny(verdict)

    def handover(self) -> bytes:
        """What the client has sent behind its login. Raises LocalProtocolError before the login stands."""
        if self.state is not State.GRANTED:
            raise LocalProtocolError("not logged in")
        return self._buffer.take_all()

    # -- a command, whole ---------------------------------------------------------------------------

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
            return self._cleartext_login(cursor)
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
            verb = cursor.atom().upper()
            handler = _COMMANDS.get(verb)
            if handler is None:
                return self._bad_command("Unknown command, or not before login")
            return handler(self, cursor)
        except ImapSyntaxError as error:
            return self._bad_command(f"Syntax: {error}")

    # -- commands -----------------------------------------------------------------------------------

    def _capability(self, cursor: Cursor) -> ServerEvent:
        cursor.no_argument()
        return Reply(b"* CAPABILITY %s\r\n" % self._capabilities() + self._tagged(b"OK", b"CAPABILITY completed"))

    def _noop(self, cursor: Cursor) -> ServerEvent:
        cursor.no_argument()
        return Reply(self._tagged(b"OK", b"NOOP completed"))

    def _logout(self, cursor: Cursor) -> ServerEvent:
        cursor.no_argument()
        self.state = State.CLOSED
        return Close(b"* BYE Logging out\r\n" + self._tagged(b"OK", b"LOGOUT completed"), Ending.LOGOUT)

    def _id(self, cursor: Cursor) -> ServerEvent:
        cursor.expect(b" ")
        self.client_id = _id_fields(cursor)
        cursor.no_argument()
        return Reply(b'* ID ("name" "tlsgate")\r\n' + self._tagged(b"OK", b"ID completed"))

    def _starttls(self, cursor: Cursor) -> ServerEvent:
        cursor.no_argument()
        if not self._clear:
            return self._bad_command("TLS is active already")
        if len(self._buffer):
            return self._close(Ending.STARTTLS_INJECTION)
        self.state = State.CLOSED
        return StartTls(self._tagged(b"OK", b"Begin TLS negotiation now"))

    def _login(self, cursor: Cursor) -> ServerEvent:
        if self._clear:
            return self._cleartext_login(cursor)
        cursor.expect(b" ")
        user = cursor.astring()
        cursor.expect(b" ")
        secret = cursor.astring()
        cursor.end()
        if not self._offer.passwords:
            self._attempted(Ending.AUTH_ATTEMPTS)
            data = self._failure(sasl.Failure.MECHANISM)
            return AuthRejected(data, "LOGIN", "no passwords here", readable_user(user))
        try:
            who = credentials(user, secret)
        except CredentialsError as error:
            self._attempted(Ending.AUTH_ATTEMPTS)
            data = self._no("AUTHENTICATIONFAILED", "Authentication failed")
            return AuthRejected(data, "LOGIN", str(error), readable_user(user))
        self.state = State.VERDICT
        return Authenticate("LOGIN", who)

    def _cleartext_login(self, cursor: Cursor) -> ServerEvent:
        try:
            cursor.expect(b" ")
            user = readable_user(cursor.astring())
        except ImapSyntaxError:
            user = None
        return self._cleartext("LOGIN", user)

    def _authenticate_command(self, cursor: Cursor) -> ServerEvent:
        cursor.expect(b" ")
        mechanism = cursor.atom().upper().decode()
        initial = cursor.rest() if cursor.accept(b" ") else None
        cursor.end()
        if self._clear:
            return self._cleartext(self._sasl.known(mechanism), sasl.shown_user(mechanism, initial))
        return self._step(self._sasl.begin(mechanism, initial))

    def _receive_response(self) -> ServerEvent | NeedData:
        try:
            line = self._buffer.line(self._longest_line)
        except LineTooLong:
            return self._close(Ending.LINE_TOO_LONG, self._tagged(b"BAD", b"Line too long"))
        if line is None:
            return NEED_DATA
        self.state = State.COMMAND
        return self._step(self._sasl.respond(line))

    # -- steps that commands share ------------------------------------------------------------------

    @property
    def _awaited(self) -> Awaited | None:
        return _AWAITED.get(self.state)

    def _await(self, awaited: Awaited) -> None:
        self.state = _AWAITING[awaited]

    def _continuation(self, challenge: bytes) -> bytes:
        return b"+ " + encode(challenge) + b"\r\n"

    def _failure(self, failure: sasl.Failure) -> bytes:
        words = SASL_FAILURES[failure]
        return self._no(words.imap, words.text) if words.imap else self._tagged(b"BAD", words.text.encode())

    def _refusal(self, refused: Refused) -> bytes:
        words = REFUSALS[refused.reason]
        return self._no(words.imap, refused.text or words.text)

    def _attempted(self, ending: Ending) -> None:
        self.state, self._due = (State.ENDING if self._tally.attempt() else State.COMMAND), ending

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

    def _close(self, reason: Ending, before: bytes = b"") -> Close:
        return Close(before + self.ending(reason), reason)

    def _tagged(self, condition: bytes, text: bytes) -> bytes:
        return b"%s %s %s\r\n" % (self._tag, condition, text)

    def _no(self, code: str, text: str) -> bytes:
        return self._tagged(b"NO", f"[{code}] {text}".encode())

    def _capabilities(self) -> bytes:
        return _capability_list(self._offer, self._clear)


@lru_cache(64)
def _capability_list(offer: Offer, clear: bool) -> bytes:
    login = ["STARTTLS"] if clear else [f"AUTH={name}" for name in offer.mechanisms]
    if clear or not offer.passwords:
        login.append("LOGINDISABLED")
    carried = [name for name in offer.capabilities if carried_capability(name)]
    return " ".join(["IMAP4rev1", "SASL-IR", "LITERAL-", "ID", *login, *carried]).encode()


def carried_capability(name: str) -> bool:
    """Whether a backend's capability may be shown to a client of ours (cases.md B16)."""
    upper = name.upper()
    return upper not in _NOT_OFFERED and not upper.startswith(_NOT_OFFERED_KINDS)


def _tag(cursor: Cursor) -> bytes:
    """A tag and the space behind it. A word alone is none and must not be said again: it may be a response of SASL
    whose command was refused. Raises ImapSyntaxError."""
    tag = cursor.tag()
    cursor.expect(b" ")
    return tag


def _literal_size(digits: bytes) -> int:
    # Twelve digits are more than any bound of ours; int() would take its time for thousands.
    return int(digits.lstrip(b"0")[:12] or b"0")


def _id_fields(cursor: Cursor) -> tuple[tuple[str, str | None], ...]:
    """The field list of ID (RFC 2971 3.1) within its bounds. Raises ImapSyntaxError."""
    if cursor.nil():
        return ()
    cursor.expect(b"(")
    fields: list[tuple[str, str | None]] = []
    apart = cursor.spaces()
    while not cursor.accept(b")"):
        if fields and not apart:
            raise ImapSyntaxError("missing space or parenthesis")
        name = cursor.string()
        cursor.expect(b" ")
        value = cursor.nstring()
        if len(fields) >= _ID_FIELDS or len(name) > _ID_FIELD or len(value or b"") > _ID_VALUE:
            raise ImapSyntaxError("ID is too long")
        fields.append((name.decode("ascii", "replace"), None if value is None else value.decode("utf-8", "replace")))
        apart = cursor.spaces()
    return tuple(fields)


_COMMANDS: dict[bytes, Callable[[Imap, Cursor], ServerEvent]] = {
    b"CAPABILITY": Imap._capability,
    b"NOOP": Imap._noop,
    b"LOGOUT": Imap._logout,
    b"ID": Imap._id,
    b"STARTTLS": Imap._starttls,
    b"LOGIN": Imap._login,
    b"AUTHENTICATE": Imap._authenticate_command,
}
