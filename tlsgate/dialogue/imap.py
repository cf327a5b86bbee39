"""IMAP, the server's side before login (RFC 9051, RFC 3501; RFC 2595 STARTTLS, 4959 SASL-IR, 7888 LITERAL-, 2971 ID).

State    what may come                           goes to
COMMAND  a command, whole with its literals      COMMAND, RESPONSE, SECRET, VERDICT, CLOSED
RESPONSE one base64 line, or "*"                 COMMAND, RESPONSE, SECRET, VERDICT
SECRET   nothing: the caller gives a secret      RESPONSE
VERDICT  nothing: the caller answers credentials COMMAND, RESPONSE, GRANTED, ENDING
ENDING   nothing: one Close event is due         CLOSED
GRANTED  nothing: handover() gives the rest
CLOSED   nothing

On a cleartext channel no credentials event exists: LOGIN and AUTHENTICATE are refused before a continuation is sent.
After STARTTLS the caller makes a new object on an encrypted channel; no state of this one survives.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.dialogue import sasl
from tlsgate.dialogue.authenticating import Awaited
from tlsgate.dialogue.credentials import CredentialsError, credentials, readable_user
from tlsgate.dialogue.events import (
    Authenticate,
    AuthRejected,
    Close,
    Ending,
    Reply,
    ServerEvent,
    StartTls,
)
from tlsgate.dialogue.imap_client_id import client_fields
from tlsgate.dialogue.imap_session import LONGEST_LITERAL, ImapSession
from tlsgate.dialogue.imap_syntax import Cursor, ImapSyntaxError
from tlsgate.dialogue.mail_access import State

__all__ = ["LONGEST_LITERAL", "Imap", "State"]


class Imap(ImapSession):
    """One IMAP client before login. ``client_id``: what it has said of itself with ID."""

    client_id: tuple[tuple[str, str | None], ...] = ()

    def _command(self, verb: bytes, cursor: Cursor) -> ServerEvent:
        handler = _COMMANDS.get(verb)
        if handler is None:
            return self._bad_command("Unknown command, or not before login")
        return handler(self, cursor)

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
        self.client_id = client_fields(cursor)
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
        self.state = Awaited.VERDICT
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


_COMMANDS: dict[bytes, Callable[[Imap, Cursor], ServerEvent]] = {
    b"CAPABILITY": Imap._capability,
    b"NOOP": Imap._noop,
    b"LOGOUT": Imap._logout,
    b"ID": Imap._id,
    b"STARTTLS": Imap._starttls,
    b"LOGIN": Imap._login,
    b"AUTHENTICATE": Imap._authenticate_command,
}
