"""SMTP submission, the server's side (RFC 5321, 6409; RFC 3207 STARTTLS, 4954 AUTH, 2034 codes, 2920 PIPELINING).

State     what may come                            goes to
START     EHLO, HELO                               GREETED
GREETED   STARTTLS (clear), AUTH (over TLS)        SASL, VERDICT, CLOSED
SASL      one base64 line, or "*"                  GREETED, SASL, VERDICT
VERDICT   nothing: the caller answers credentials  READY, GREETED, ENDING
READY     MAIL                                     PENDING
MAIL      RCPT, DATA                               PENDING
PENDING   nothing: the caller answers a command    READY, MAIL, BODY
BODY      octets up to the end of data             PENDING
ENDING    nothing: one Close event is due          CLOSED
CLOSED    nothing

EHLO, HELO, RSET, NOOP, HELP, VRFY and QUIT are answered in START, GREETED, READY and MAIL. Nothing leads to READY
but a granted login, and no object outlives STARTTLS, so MAIL before AUTH can't be talked into.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from tlsgate.dialogue import sasl
from tlsgate.dialogue.buffer import LineTooLong, ReceiveBuffer
from tlsgate.dialogue.credentials import Credentials
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
    ending_after,
)
from tlsgate.dialogue.foreign import TLS_HANDSHAKE_RECORD, is_foreign
from tlsgate.dialogue.replies import ENDINGS, REFUSALS, SASL_FAILURES
from tlsgate.dialogue.smtp_data import BodyFault, DataDecoder
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    Parameters,
    Path,
    SmtpSyntaxError,
    check_parameters,
    ehlo_name,
    forward_path,
    reverse_path,
)
from tlsgate.dialogue.tally import Tally

# A backend's extensions that the mail transaction carries; we stand in for PIPELINING and ENHANCEDSTATUSCODES.
CARRIED = frozenset({"8BITMIME", "SMTPUTF8", "DSN"})
_OWN = ("PIPELINING", "ENHANCEDSTATUSCODES")
_GREETS = re.compile(rb"(?:EHLO|HELO) ", re.IGNORECASE)


class State(enum.Enum):
    """See the module's table."""

    START = enum.auto()
    GREETED = enum.auto()
    SASL = enum.auto()
    VERDICT = enum.auto()
    READY = enum.auto()
    MAIL = enum.auto()
    PENDING = enum.auto()
    BODY = enum.auto()
    ENDING = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM, with the parameters that the backend takes. Answer by ``answer``."""

    sender: Path
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO. Answer by ``answer``."""

    recipient: Path
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Data:
    """DATA, with at least one recipient accepted. Answer by ``answer``: 354 leads to body events."""


@dataclass(frozen=True, slots=True)
class Body:
    """Octets of the message for the backend, dot-stuffed, without its end."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndOfData:
    """The message's end. ``fault`` tells why it can't stand, ``size`` its octets. Answer by ``answer``."""

    size: int
    fault: BodyFault | None


@dataclass(frozen=True, slots=True)
class Abandon:
    """The transaction under way is over without a message (RSET, EHLO): write ``data`` and tell the backend."""

    data: bytes


MailEvent = Mail | Rcpt | Data | Body | EndOfData | Abandon


class Submission:
    """One submission client. ``offer.capabilities``: the backend's EHLO keywords with their parameters.

    ``size``: the largest message in octets that is taken. ``recipients``: the most that one may have.
    """

    def __init__(self, offer: Offer, channel: Channel, bounds: Bounds, *, size: int, recipients: int) -> None:
        self._offer = offer
        self._clear = channel is Channel.CLEARTEXT
        self._longest_line = bounds.line_length
        self._tally = Tally(bounds)
        self._buffer = ReceiveBuffer()
        self._decoder = DataDecoder(size)
        self._most_recipients = recipients
        # What a transaction brings with it are no bad commands: every recipient may be wrong, and DATA too then. Who
        # goes on behind that is guessing addresses.
        self._most_refusals = max(bounds.bad_commands, recipients + 1)
        self._refusals = 0
        self._sender_refused = False
        self._size, self._keywords, self._extensions = _offered(offer, self._clear, size)
        self._taken = self._extensions
        self._smtputf8 = False
        self.state = State.START
        self.client_name = ""
        self._esmtp = False
        self._logged_in = False
        self._asked: Mail | Rcpt | Data | EndOfData | None = None
        self._recipients = 0
        self._sasl = sasl.Authentication(offer.mechanisms)
        self._due = Ending.AUTH_ATTEMPTS

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

    def next_event(self) -> ServerEvent | MailEvent | NeedData:
        """The next event, or NEED_DATA. Raises LocalProtocolError while an answer is due or after the end."""
        match self.state:
            case State.START | State.GREETED | State.READY | State.MAIL | State.SASL:
                return self._receive_line()
            case State.BODY:
                return self._receive_body()
            case State.ENDING:
                return self._close(self._due)
            case State.VERDICT | State.PENDING | State.CLOSED:
                raise LocalProtocolError(f"no event in state {self.state.name}")

    def send(self, verdict: Verdict) -> bytes:
        """Answer an Authenticate event. Raises LocalProtocolError when none is open."""
        if self.state is not State.VERDICT:
            raise LocalProtocolError("no credentials wait for a verdict")
        match verdict:
            case Granted():
                self._logged_in = True
                self.state = State.READY
                return reply("235 2.7.0", "Authentication successful").encode()
            case Refused(reason, text):
                self._attempted(ending_after(reason))
                return reply(REFUSALS[reason].smtp, text or REFUSALS[reason].text).encode()

    def answer(self, said: SmtpReply) -> bytes:
        """Answer Mail, Rcpt, Data or EndOfData. Raises LocalProtocolError when none is open."""
        if self.state is not State.PENDING:
            raise LocalProtocolError("no command waits for an answer")
        match self._asked:
            case Mail():
                self.state = State.MAIL if said.positive else State.READY
                self._sender_refused = not said.positive
                self._recipients = 0
            case Rcpt():
                self.state = State.MAIL
                self._recipients += said.positive
                if said.code >= 500 and self._refuses():
                    self.state, self._due = State.ENDING, Ending.BAD_COMMANDS
            case Data():
                self.state = State.BODY if said.positive else self._after_refused_data()
                self._decoder = DataDecoder(self._size)
            case EndOfData() | None:
                self.state = State.READY
        if said.code == 421:
            self.state = State.CLOSED
        return said.encode()

    def shorten(self, keywords: frozenset[str]) -> None:
        """Hold to the extensions that this session's backend has (its EHLO may say less than was learned)."""
        missing = CARRIED - keywords
        self._extensions -= missing
        self._keywords = tuple(word for word in self._keywords if word not in missing)
        self._taken = keywords

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
        if self.state is State.SASL:
            self.state = State.GREETED
            return self._step(self._sasl.respond(line))
        if is_foreign(line):
            return self._close(Ending.FOREIGN_PROTOCOL)
        if not self._logged_in and self._tally.command():
            return self._close(Ending.COMMANDS)
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
        handler = _COMMANDS.get(verb.upper())
        try:
            return handler(self, argument) if handler else self._bad("500 5.5.1", "Unknown command")
        except SmtpSyntaxError as error:
            return self._bad(error.code, error.text)

    # -- commands in any state ----------------------------------------------------------------------

    def _ehlo(self, argument: str) -> ServerEvent | MailEvent:
        self.client_name, self._esmtp = ehlo_name(argument), True
        return self._begin(_ehlo_reply(self._offer.hostname, self._keywords))

    def _helo(self, argument: str) -> ServerEvent | MailEvent:
        self.client_name, self._esmtp = ehlo_name(argument), False
        return self._begin(SmtpReply(250, (self._offer.hostname,)).encode())

    def _begin(self, data: bytes) -> ServerEvent | MailEvent:
        abandoned = self.state is State.MAIL
        self._sender_refused = False
        self.state = State.READY if self._logged_in else State.GREETED
        return Abandon(data) if abandoned else Reply(data)

    def _rset(self, argument: str) -> ServerEvent | MailEvent:
        if argument:
            return self._bad("501 5.5.4", "RSET takes no argument")
        data = reply("250 2.0.0", "Ok").encode()
        self._sender_refused = False
        if self.state is not State.MAIL:
            return Reply(data)
        self.state = State.READY
        return Abandon(data)

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
        return self._bad("502 5.5.1", "Not implemented") if self._logged_in else self._unauthenticated()

    def _not_yours(self, _argument: str) -> ServerEvent:
        return self._bad("550 5.7.0", "Not permitted")

    # -- TLS and authentication ---------------------------------------------------------------------

    def _starttls(self, argument: str) -> ServerEvent:
        if argument:
            return self._bad("501 5.5.4", "STARTTLS takes no argument")
        if not self._clear:
            return self._bad("503 5.5.1", "TLS is active already")
        if len(self._buffer):
            return self._close(Ending.STARTTLS_INJECTION)
        self.state = State.CLOSED
        return StartTls(reply("220 2.0.0", "Ready to start TLS").encode())

    def _auth(self, argument: str) -> ServerEvent:
        name, space, initial = argument.partition(" ")
        mechanism = name.upper()
        if self._clear:
            return self._cleartext(self._sasl.known(mechanism), sasl.shown_user(mechanism, initial.encode()))
        if self.state is not State.GREETED or not self._esmtp:
            return self._bad("503 5.5.1", "Authenticated already" if self._logged_in else "EHLO first")
        if not name:
            return self._bad("501 5.5.4", "Syntax: AUTH mechanism")
        return self._step(self._sasl.begin(mechanism, initial.encode() if space else None))

    def _step(self, step: sasl.Step) -> ServerEvent:
        match step:
            case Credentials():
                self.state = State.VERDICT
                return Authenticate(self._sasl.mechanism, step)
            case sasl.Challenge(data):
                self.state = State.SASL
                return Reply(b"334 " + sasl.encode(data) + b"\r\n")
            case sasl.Failed(failure, reason, user):
                self._attempted(Ending.AUTH_ATTEMPTS)
                words = SASL_FAILURES[failure]
                return AuthRejected(reply(words.smtp, words.text).encode(), self._sasl.mechanism, reason, user)

    def _attempted(self, ending: Ending) -> None:
        self.state, self._due = (State.ENDING if self._tally.attempt() else State.GREETED), ending

    def _cleartext(self, mechanism: str, user: str | None) -> CleartextAuthRefused:
        if self._tally.bad():
            self.state, self._due = State.ENDING, Ending.BAD_COMMANDS
        data = reply("538 5.7.11", "Authentication is refused before STARTTLS").encode()
        return CleartextAuthRefused(data, mechanism, user)

    # -- the mail transaction -----------------------------------------------------------------------

    def _mail(self, argument: str) -> ServerEvent | MailEvent:
        if not self._logged_in:
            return self._unauthenticated()
        if self.state is not State.READY:
            return self._bad("503 5.5.1", "Sender was given already")
        self._refusals, self._sender_refused = 0, True
        sender, parameters = reverse_path(argument)
        check_parameters(parameters, MAIL_PARAMETERS, self._extensions)
        given = dict(parameters)
        if int(given.get("SIZE") or 0) > self._size:
            return self._refuse("552 5.3.4", "Message is larger than this server takes")
        self._smtputf8 = "SMTPUTF8" in given
        if not (self._smtputf8 or argument.isascii()):
            return self._refuse("553 5.6.7", "Address needs SMTPUTF8")
        # SIZE and AUTH are taken here whatever the backend has: one that lacks them would refuse the command for them.
        passed = tuple(each for each in parameters if MAIL_PARAMETERS[each[0]] in self._taken)
        return self._ask(Mail(sender, passed))

    def _rcpt(self, argument: str) -> ServerEvent | MailEvent:
        if not self._logged_in:
            return self._unauthenticated()
        if self.state is not State.MAIL:
            return self._no_sender()
        recipient, parameters = forward_path(argument)
        check_parameters(parameters, RCPT_PARAMETERS, self._extensions)
        if not (self._smtputf8 or argument.isascii()):
            return self._refuse("553 5.6.7", "Address needs SMTPUTF8")
        if self._recipients >= self._most_recipients:
            # No bad command: the client may well go on with those that it has got in, and send the others a copy later.
            return Reply(reply("452 4.5.3", "Too many recipients").encode())
        return self._ask(Rcpt(recipient, parameters))

    def _data(self, argument: str) -> ServerEvent | MailEvent:
        if not self._logged_in:
            return self._before_body(self._unauthenticated())
        if argument:
            return self._before_body(self._bad("501 5.5.4", "DATA takes no argument"))
        if self.state is not State.MAIL:
            return self._before_body(self._no_sender())
        if not self._recipients:
            return self._before_body(self._refuse("554 5.5.1", "No valid recipients"))
        return self._ask(Data())

    def _bdat(self, argument: str) -> ServerEvent:
        return self._before_body(self._not_here(argument))

    def _before_body(self, said: ServerEvent) -> ServerEvent:
        """A refusal of DATA or BDAT: a body sent without waiting for it must never be read as commands (D19)."""
        if len(self._buffer) and isinstance(said, Reply):
            return self._close(Ending.BAD_COMMANDS, said.data)
        return said

    def _receive_body(self) -> MailEvent | ServerEvent | NeedData:
        decoder = self._decoder
        if not decoder.ended:
            if not len(self._buffer):
                return NEED_DATA
            data = decoder.feed(self._buffer.take_all())
            if decoder.ended:
                self._buffer.append(decoder.rest)
            if data:
                return Body(data)
            if decoder.size > 2 * self._size:
                return self._close(Ending.MESSAGE_TOO_LARGE)
        return self._ask(EndOfData(decoder.size, decoder.fault)) if decoder.ended else NEED_DATA

    def _ask(self, command: Mail | Rcpt | Data | EndOfData) -> MailEvent:
        self.state = State.PENDING
        self._asked = command
        return command

    def _after_refused_data(self) -> State:
        if len(self._buffer):
            self._due = Ending.BAD_COMMANDS
            return State.ENDING
        return State.MAIL

    # -- replies ------------------------------------------------------------------------------------

    def _unauthenticated(self) -> ServerEvent:
        text = "STARTTLS first" if self._clear else "Authentication required"
        return self._bad("530 5.7.0", text)

    def _bad(self, code: str, text: str) -> ServerEvent:
        data = reply(code, text).encode()
        return self._close(Ending.BAD_COMMANDS, data) if self._tally.bad() else Reply(data)

    def _no_sender(self) -> ServerEvent:
        """RCPT or DATA without a MAIL that stands. Behind a refused one a client that pipelines can't but say them."""
        return (self._refuse if self._sender_refused else self._bad)("503 5.5.1", "MAIL first")

    def _refuse(self, code: str, text: str) -> ServerEvent:
        data = reply(code, text).encode()
        return self._close(Ending.BAD_COMMANDS, data) if self._refuses() else Reply(data)

    def _refuses(self) -> bool:
        """Count one more refusal within this transaction; whether it is one too many."""
        self._refusals += 1
        return self._refusals > self._most_refusals

    def _close(self, reason: Ending, before: bytes = b"") -> Close:
        return Close(before + self.ending(reason), reason)


@lru_cache(64)
def _offered(offer: Offer, clear: bool, size: int) -> tuple[int, tuple[str, ...], frozenset[str]]:
    """The largest message taken, EHLO's keywords, and the extensions that these are of."""
    theirs = {word.split(" ")[0].upper(): word for word in offer.capabilities}
    backends = theirs.get("SIZE", "").partition(" ")[2]
    if backends.isdigit() and int(backends):
        size = min(size, int(backends))
    channel = "STARTTLS" if clear else "AUTH " + " ".join(offer.mechanisms)
    keywords = (*_OWN, f"SIZE {size}", *sorted(CARRIED & theirs.keys()), channel)
    return size, keywords, frozenset({"AUTH", "SIZE", *(word.split(" ")[0].upper() for word in keywords)})


@lru_cache(64)
def _ehlo_reply(hostname: str, keywords: tuple[str, ...]) -> bytes:
    return SmtpReply(250, (hostname, *keywords)).encode()


_Handler = Callable[[Submission, str], ServerEvent | MailEvent]
_COMMANDS: dict[str, _Handler] = {
    "EHLO": Submission._ehlo,
    "HELO": Submission._helo,
    "RSET": Submission._rset,
    "NOOP": Submission._noop,
    "HELP": Submission._help,
    "VRFY": Submission._vrfy,
    "QUIT": Submission._quit,
    "STARTTLS": Submission._starttls,
    "AUTH": Submission._auth,
    "MAIL": Submission._mail,
    "RCPT": Submission._rcpt,
    "DATA": Submission._data,
    "BDAT": Submission._bdat,
    "EXPN": Submission._not_here,
    "ETRN": Submission._not_here,
    "TURN": Submission._not_here,
    "XCLIENT": Submission._not_yours,
    "XFORWARD": Submission._not_yours,
    "PROXY": Submission._not_yours,
}
