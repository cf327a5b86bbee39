"""The mail transaction of SMTP's servers (RFC 5321 3.3; RFC 2034 codes, 2920 PIPELINING).

``smtp_session`` has the table of states, and the commands that are no part of a transaction; ``smtp_message`` has the
message's content.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from tlsgate.dialogue.authenticating import Awaited
from tlsgate.dialogue.events import (
    Bounds,
    Channel,
    Ending,
    LocalProtocolError,
    NeedData,
    Offer,
    Reply,
    ServerEvent,
)
from tlsgate.dialogue.smtp_events import Data, EndOfData, Mail, MailEvent, Rcpt
from tlsgate.dialogue.smtp_message import TOO_LARGE, MessageRules, SmtpMessage
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_session import State
from tlsgate.dialogue.smtp_syntax import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    SmtpSyntaxError,
    check_parameters,
    forward_path,
    reverse_path,
)

__all__ = ["TOO_LARGE", "MessageRules", "Smtp", "State"]

# Who names more recipients than this many times what one message may have is not sending one.
_NAMED = 10
# A whole line, with no other CR, LF or NUL in it.
_RCPT = re.compile(rb"RCPT [^\r\n\0]*\r\n", re.IGNORECASE)


class Smtp(SmtpMessage):
    """One client. ``offer.capabilities``: the backend's EHLO keywords with their parameters."""

    # Whether each transaction has its own number of refusals, or all up to the next message that is taken have one.
    _forgives: ClassVar[bool] = True

    def __init__(self, offer: Offer, channel: Channel, bounds: Bounds, rules: MessageRules) -> None:
        super().__init__(offer, channel, bounds, rules)
        self._smtputf8 = False
        self._named = 0
        self._following = 0

    @abstractmethod
    def _accepted(self) -> None:
        """The backend has taken a message."""

    # -- the caller's side --------------------------------------------------------------------------

    def next_event(self) -> ServerEvent | MailEvent | NeedData:
        """The next event, or NEED_DATA. Raises LocalProtocolError while an answer is due or after the end."""
        match self.state:
            case State.START | State.GREETED | State.READY | State.MAIL | Awaited.RESPONSE:
                return self._receive_line()
            case State.BODY:
                return self._receive_body()
            case State.CHUNK:
                return self._receive_chunk()
            case State.SKIP:
                return self._skip_chunk()
            case State.ENDING:
                return self._close(self._due)
            case Awaited.SECRET | Awaited.VERDICT | State.PENDING | State.CLOSED:
                raise LocalProtocolError(f"no event in state {self.state.name}")

    def answer(self, said: SmtpReply) -> bytes:
        """Answer Mail, Rcpt, Data or EndOfData; gives what is to be sent now: nothing where a chunk comes first.

        Raises LocalProtocolError when no command waits.
        """
        if self.state is not State.PENDING:
            raise LocalProtocolError("no command waits for an answer")
        data = said.encode()
        match self._asked:
            case Mail():
                self.state = State.MAIL if said.positive else State.READY
                self._sender_refused = not said.positive
            case Rcpt():
                self.state = State.PENDING if self._following else State.MAIL
                self._following = max(0, self._following - 1)
                self._recipients += said.positive
                if said.code >= 500 and self._refuses():
                    self._end()
            case Data():
                data = self._answer_data(said)
            case EndOfData() | None:
                self._forget()
                self.state = State.READY
                if said.positive:
                    self._accepted()
        if said.code == 421:
            self.state = State.CLOSED
            return said.encode()
        return data

    def _command(self, verb: str, argument: str) -> ServerEvent | MailEvent | NeedData:
        handler = _COMMANDS.get(verb)
        return handler(self, argument) if handler else super()._command(verb, argument)

    def following(self) -> list[Rcpt]:
        """While a Rcpt waits for its answer: more of them, which the client has sent behind it without waiting.

        Each is to be answered, in their order, until the state isn't PENDING any more. So they can be passed on at
        once (RFC 2920).
        """
        if self.state is not State.PENDING or not isinstance(self._asked, Rcpt):
            raise LocalProtocolError("no recipient waits for an answer")
        more: list[Rcpt] = []
        while self._recipients + 1 + len(more) < self._rules.recipients and (rcpt := self._next_rcpt()) is not None:
            more.append(rcpt)
        self._following = len(more)
        return more

    def _next_rcpt(self) -> Rcpt | None:
        """The command that comes next, if it is RCPT and nothing is wrong with it; another one is left where it is."""
        line = self._buffer.peek_line(self._longest_line)
        if line is None or not _RCPT.match(line) or self._named >= _NAMED * self._rules.recipients:
            return None
        try:
            argument = line[5:].decode().rstrip(" \t\r\n")
            recipient, parameters = forward_path(argument)
            check_parameters(parameters, RCPT_PARAMETERS, self._extensions)
        except (UnicodeDecodeError, SmtpSyntaxError):
            return None
        if not (self._smtputf8 or argument.isascii()):
            return None
        self._buffer.take(len(line))
        self._named += 1
        return Rcpt(recipient, parameters)

    # -- MAIL and RCPT ------------------------------------------------------------------------------

    def _mail(self, argument: str) -> ServerEvent | MailEvent:
        if not self._open:
            return self._closed()
        if self.state is not State.READY:
            return self._bad("503 5.5.1", "Sender was given already")
        self._forget()
        self._sender_refused = True
        if self._forgives:
            self._refusals = 0
        try:
            sender, parameters = reverse_path(argument)
            check_parameters(parameters, MAIL_PARAMETERS, self._extensions)
        except SmtpSyntaxError as error:
            return self._refuse(error.code, error.text)
        given = dict(parameters)
        if int(given.get("SIZE") or 0) > self._size:
            return self._refuse("552 5.3.4", TOO_LARGE)
        self._smtputf8 = "SMTPUTF8" in given
        if not (self._smtputf8 or argument.isascii()):
            return self._refuse("553 5.6.7", "Address needs SMTPUTF8")
        return self._ask(Mail(sender, parameters))

    def _rcpt(self, argument: str) -> ServerEvent | MailEvent:
        if not self._open:
            return self._closed()
        if self.state is not State.MAIL:
            return self._no_sender()
        if self._chunks.begun:
            return self._bad("503 5.5.1", "Message has begun")
        self._named += 1
        if self._named > _NAMED * self._rules.recipients:
            return self._close(Ending.BAD_COMMANDS)
        try:
            recipient, parameters = forward_path(argument)
            check_parameters(parameters, RCPT_PARAMETERS, self._extensions)
        except SmtpSyntaxError as error:
            return self._refuse(error.code, error.text)
        if not (self._smtputf8 or argument.isascii()):
            return self._refuse("553 5.6.7", "Address needs SMTPUTF8")
        if self._recipients >= self._rules.recipients:
            # No bad command: the client may well go on with those that it has got in, and send the others a copy later.
            return Reply(reply("452 4.5.3", "Too many recipients").encode())
        return self._ask(Rcpt(recipient, parameters))

    def _forget(self) -> None:
        super()._forget()
        self._named = 0


_COMMANDS: dict[str, Callable[[Smtp, str], ServerEvent | MailEvent | NeedData]] = {
    "MAIL": Smtp._mail,
    "RCPT": Smtp._rcpt,
    "DATA": Smtp._data,
    "BDAT": Smtp._bdat,
}
