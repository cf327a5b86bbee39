"""POP3, the server's side before login (RFC 1939; RFC 2449 CAPA, 2595 STLS, 5034 AUTH, 3206 codes).

State    what may come                           goes to
COMMAND  a line                                  COMMAND, RESPONSE, SECRET, VERDICT, CLOSED
RESPONSE one base64 line, or "*"                 COMMAND, RESPONSE, SECRET, VERDICT
SECRET   nothing: the caller gives a secret      RESPONSE
VERDICT  nothing: the caller answers credentials COMMAND, RESPONSE, GRANTED, ENDING
ENDING   nothing: one Close event is due         CLOSED
GRANTED  nothing: handover() gives the rest
CLOSED   nothing

On a cleartext channel USER is refused already, so that PASS is never sent; APOP is refused everywhere, since
neither we nor the backend could check it with a stored hash.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.dialogue import sasl
from tlsgate.dialogue.authenticating import Awaited
from tlsgate.dialogue.buffer import LineTooLong
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
    NeedData,
    Offer,
    Refused,
    Reply,
    ServerEvent,
    StartTls,
)
from tlsgate.dialogue.foreign import TLS_HANDSHAKE_RECORD, is_foreign
from tlsgate.dialogue.mail_access import MailAccess, State
from tlsgate.dialogue.replies import ENDINGS, REFUSALS, SASL_FAILURES

# What a backend's CAPA may add to ours (RFC 2449): the rest is ours to say. UTF8 and LANG (RFC 6856) would be asked
# for before the login, where no backend is there to hear it. PIPELINING is the backend's alone to promise, since what
# a client pipelines behind its login goes there as it is; one that doesn't say it may throw away what came too early.
_CARRIED = {"TOP", "UIDL", "EXPIRE", "LOGIN-DELAY", "PIPELINING"}
_DEFAULT = ("TOP", "UIDL")


_NO_CONNECTION = sasl.Connection()


class Pop3(MailAccess):
    """One POP3 client before login."""

    def __init__(
        self, offer: Offer, channel: Channel, bounds: Bounds, connection: sasl.Connection = _NO_CONNECTION
    ) -> None:
        super().__init__(offer, channel, bounds, connection)
        self._user: bytes | None = None

    # -- the caller's side --------------------------------------------------------------------------

    def greeting(self) -> bytes:
        """The first line of a connection, without a timestamp since APOP isn't taken (not sent after STLS)."""
        return b"+OK %s ready\r\n" % self._offer.hostname.encode()

    def ending(self, reason: Ending) -> bytes:
        """The line that ends the connection for a reason that the dialogue can't see (time, capacity)."""
        self.state = State.CLOSED
        return _err(ENDINGS[reason].pop3, ENDINGS[reason].text)

    # -- a line -------------------------------------------------------------------------------------

    def _receive(self) -> ServerEvent | NeedData:
        if self._buffer.first() == TLS_HANDSHAKE_RECORD:
            return self._close(Ending.FOREIGN_PROTOCOL)
        try:
            line = self._buffer.line(self._longest_line)
        except LineTooLong:
            return self._close(Ending.LINE_TOO_LONG)
        if line is None:
            return NEED_DATA
        if self.state is Awaited.RESPONSE:
            self.state = State.COMMAND
            return self._step(self._sasl.respond(line))
        if is_foreign(line):
            return self._close(Ending.FOREIGN_PROTOCOL)
        if self._tally.command():
            return self._close(Ending.COMMANDS)
        whole = line[:-2] if line.endswith(b"\r\n") else b"\r"
        if b"\r" in whole or b"\0" in whole:
            return self._bad("Line must end with CR LF and hold no control characters")
        verb, space, argument = whole.partition(b" ")
        handler = _COMMANDS.get(verb.upper())
        if handler is None:
            return self._bad("Unknown command, or not before login")
        return handler(self, argument if space else None)

    # -- commands -----------------------------------------------------------------------------------

    def _capa(self, argument: bytes | None) -> ServerEvent:
        if _given(argument):
            return self._bad("CAPA takes no argument")
        names = " ".join(self._offer.mechanisms)
        own = ["STLS"] if self._clear else [f"SASL {names}"] if names else []
        if not self._clear and self._offer.passwords:
            own.insert(0, "USER")
        backend = [name for name in self._offer.capabilities if name.split(" ")[0].upper() in _CARRIED]
        lines = [*own, "RESP-CODES", "AUTH-RESP-CODE", *(backend or _DEFAULT), "IMPLEMENTATION tlsgate"]
        return Reply("\r\n".join(["+OK Capability list follows", *lines, ".", ""]).encode())

    def _noop(self, argument: bytes | None) -> ServerEvent:
        return self._bad("NOOP takes no argument") if _given(argument) else Reply(b"+OK\r\n")

    def _quit(self, argument: bytes | None) -> ServerEvent:
        if _given(argument):
            return self._bad("QUIT takes no argument")
        self.state = State.CLOSED
        return Close(b"+OK Bye\r\n", Ending.LOGOUT)

    def _stls(self, argument: bytes | None) -> ServerEvent:
        if _given(argument):
            return self._bad("STLS takes no argument")
        if not self._clear:
            return self._bad("TLS is active already")
        if len(self._buffer):
            return self._close(Ending.STARTTLS_INJECTION)
        self.state = State.CLOSED
        return StartTls(b"+OK Begin TLS negotiation now\r\n")

    def _user_command(self, argument: bytes | None) -> ServerEvent:
        if self._clear:
            # The first word alone: who says more may have said the password.
            return self._cleartext("USER", _first_word(argument))
        if not argument or b" " in argument:
            return self._bad("USER needs one name")
        if not self._offer.passwords:
            return self._bad("Mechanism not supported")
        self._user = argument
        return Reply(b"+OK\r\n")

    def _pass_command(self, argument: bytes | None) -> ServerEvent:
        if self._clear:
            return self._cleartext("USER", None)
        if self._user is None:
            return self._bad("USER first")
        user, self._user = self._user, None
        try:
            who = credentials(user, argument or b"")
        except CredentialsError as error:
            self._attempted(Ending.AUTH_ATTEMPTS)
            return AuthRejected(_err("AUTH", "Authentication failed"), "USER", str(error), readable_user(user))
        self.state = Awaited.VERDICT
        return Authenticate("USER", who)

    def _apop(self, argument: bytes | None) -> ServerEvent:
        if self._clear:
            return self._cleartext("APOP", _first_word(argument))
        return self._bad("APOP is not supported")

    def _auth(self, argument: bytes | None) -> ServerEvent:
        if argument is None or not _given(argument):
            names = () if self._clear else self._offer.mechanisms
            return Reply("\r\n".join(["+OK Mechanisms follow", *names, ".", ""]).encode())
        name, space, initial = argument.partition(b" ")
        mechanism = name.decode("ascii", "replace").upper()
        if self._clear:
            return self._cleartext(self._sasl.known(mechanism), sasl.shown_user(mechanism, initial))
        return self._step(self._sasl.begin(mechanism, initial if space else None))

    # -- steps that commands share ------------------------------------------------------------------

    def _granted(self, granted: Granted) -> bytes:
        return b"+OK %s\r\n" % (granted.text or "Logged in").encode()

    def _failure(self, failure: sasl.Failure) -> bytes:
        words = SASL_FAILURES[failure]
        return _err(words.pop3, words.text)

    def _refusal(self, refused: Refused) -> bytes:
        words = REFUSALS[refused.reason]
        return _err(words.pop3, refused.text or words.text)

    def _cleartext(self, mechanism: str, user: str | None) -> CleartextAuthRefused:
        if self._tally.bad():
            self.state, self._due = State.ENDING, Ending.BAD_COMMANDS
        return CleartextAuthRefused(_err("", "Authentication is refused before STLS"), mechanism, user)

    def _bad(self, text: str) -> ServerEvent:
        data = _err("", text)
        return self._close(Ending.BAD_COMMANDS) if self._tally.bad() else Reply(data)


def _given(argument: bytes | None) -> bool:
    """Whether there is an argument: spaces, which some clients leave behind a command, are none."""
    return argument is not None and argument.strip(b" ") != b""


def _first_word(argument: bytes | None) -> str | None:
    return readable_user((argument or b"").split(b" ")[0])


def _err(code: str, text: str) -> bytes:
    return f"-ERR {f'[{code}] ' if code else ''}{text}\r\n".encode()


_COMMANDS: dict[bytes, Callable[[Pop3, bytes | None], ServerEvent]] = {
    b"CAPA": Pop3._capa,
    b"NOOP": Pop3._noop,
    b"QUIT": Pop3._quit,
    b"STLS": Pop3._stls,
    b"USER": Pop3._user_command,
    b"PASS": Pop3._pass_command,
    b"APOP": Pop3._apop,
    b"AUTH": Pop3._auth,
}
