"""What the dialogues of IMAP and POP3 have in common: one client up to its login, and what comes behind it."""

from __future__ import annotations

import enum
from abc import abstractmethod

from tlsgate.dialogue import sasl
from tlsgate.dialogue.authenticating import Authenticating, Awaited
from tlsgate.dialogue.buffer import ReceiveBuffer
from tlsgate.dialogue.challenge import encode
from tlsgate.dialogue.events import (
    Bounds,
    Channel,
    Close,
    Ending,
    Granted,
    LocalProtocolError,
    NeedData,
    Offer,
    Refused,
    ServerEvent,
    Verdict,
)
from tlsgate.dialogue.tally import Tally

_NO_CONNECTION = sasl.Connection()


class State(enum.Enum):
    """See the tables of ``imap`` and ``pop3``; in an exchange it is the exchange's."""

    COMMAND = enum.auto()
    ENDING = enum.auto()
    GRANTED = enum.auto()
    CLOSED = enum.auto()


class MailAccess(Authenticating):
    """One client before login.

    ``offer``: what it is shown. ``channel``: clear text, where only STARTTLS leads on, or TLS. ``connection``: what
    mechanisms make use of.
    """

    state: State | Awaited

    def __init__(
        self, offer: Offer, channel: Channel, bounds: Bounds, connection: sasl.Connection = _NO_CONNECTION
    ) -> None:
        self._offer = offer
        self._clear = channel is Channel.CLEARTEXT
        self._longest_line = bounds.line_length
        self._buffer = ReceiveBuffer()
        self.state = State.COMMAND
        self._sasl = sasl.Authentication(offer.mechanisms, connection)
        self._tally = Tally(bounds)
        self._due = Ending.AUTH_ATTEMPTS

    # -- what is each protocol's own ----------------------------------------------------------------

    @abstractmethod
    def ending(self, reason: Ending) -> bytes:
        """The line that ends the connection for a reason that the dialogue can't see (time, capacity)."""

    @abstractmethod
    def _receive(self) -> ServerEvent | NeedData:
        """What a command leads to, or a response in an exchange."""

    @abstractmethod
    def _granted(self, granted: Granted) -> bytes:
        """The reply to a login that stands."""

    # -- the caller's side --------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Append what came from the client."""
        self._buffer.append(data)

    def next_event(self) -> ServerEvent | NeedData:
        """The next event, or NEED_DATA. Raises LocalProtocolError while a verdict is due or after the end."""
        match self.state:
            case State.COMMAND | Awaited.RESPONSE:
                return self._receive()
            case State.ENDING:
                return self._close(self._due)
            case Awaited.SECRET | Awaited.VERDICT | State.GRANTED | State.CLOSED:
                raise LocalProtocolError(f"no event in state {self.state.name}")

    def send(self, verdict: Verdict) -> bytes:
        """Answer an Authenticate event. Raises LocalProtocolError when none is open."""
        if self.state is not Awaited.VERDICT:
            raise LocalProtocolError("no credentials wait for a verdict")
        match verdict:
            case Granted():
                self.state = State.GRANTED
                return self._granted(verdict)
            case Refused():
                return self._deny(verdict)

    def handover(self) -> bytes:
        """What the client has sent behind its login. Raises LocalProtocolError before the login stands."""
        if self.state is not State.GRANTED:
            raise LocalProtocolError("not logged in")
        return self._buffer.take_all()

    # -- steps that commands share ------------------------------------------------------------------

    def _continuation(self, challenge: bytes) -> bytes:
        return b"+ " + encode(challenge) + b"\r\n"

    def _attempted(self, ending: Ending) -> None:
        self.state, self._due = (State.ENDING if self._tally.attempt() else State.COMMAND), ending

    def _close(self, reason: Ending, before: bytes = b"") -> Close:
        return Close(before + self.ending(reason), reason)
