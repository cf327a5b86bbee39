"""SMTP submission (RFC 6409): nobody sends mail but who has logged in over TLS (RFC 4954).

Nothing leads to READY but a granted login, and no object outlives STARTTLS, so MAIL before AUTH can't be talked into.
"""

from __future__ import annotations

from tlsgate.dialogue import sasl
from tlsgate.dialogue.authenticating import Authenticating, Awaited
from tlsgate.dialogue.challenge import encode
from tlsgate.dialogue.events import (
    Bounds,
    Channel,
    CleartextAuthRefused,
    Ending,
    Granted,
    LocalProtocolError,
    NeedData,
    Offer,
    Refused,
    ServerEvent,
    Verdict,
)
from tlsgate.dialogue.replies import REFUSALS, SASL_FAILURES
from tlsgate.dialogue.smtp import MessageRules, Smtp
from tlsgate.dialogue.smtp_events import MailEvent
from tlsgate.dialogue.smtp_reply import reply
from tlsgate.dialogue.smtp_session import State

_NO_CONNECTION = sasl.Connection()


class Submission(Authenticating, Smtp):
    """One submission client. ``connection``: what mechanisms make use of."""

    state: State | Awaited

    def __init__(
        self,
        offer: Offer,
        channel: Channel,
        bounds: Bounds,
        rules: MessageRules,
        connection: sasl.Connection = _NO_CONNECTION,
    ) -> None:
        super().__init__(offer, channel, bounds, rules)
        self._logged_in = False
        self._sasl = sasl.Authentication(offer.mechanisms, connection)

    @property
    def _open(self) -> bool:
        return self._logged_in

    def _channel_keyword(self) -> str:
        if self._clear:
            return "STARTTLS"
        return " ".join(("AUTH", *self._offer.mechanisms)) if self._offer.mechanisms else ""

    def _closed(self) -> ServerEvent:
        return self._bad("530 5.7.0", "STARTTLS first" if self._clear else "Authentication required")

    def _counts(self, verb: str) -> bool:
        del verb
        return not self._logged_in and self._tally.command()

    def _accepted(self) -> None:
        """Quotas bound what a user may send."""

    def send(self, verdict: Verdict) -> bytes:
        """Answer an Authenticate event. Raises LocalProtocolError when none is open."""
        if self.state is not Awaited.VERDICT:
            raise LocalProtocolError("no credentials wait for a verdict")
        match verdict:
            case Granted():
                self._logged_in = True
                self.state = State.READY
                return reply("235 2.7.0", "Authentication successful").encode()
            case Refused():
                return self._deny(verdict)

    def _take_line(self, line: bytes) -> ServerEvent | MailEvent | NeedData:
        if self.state is not Awaited.RESPONSE:
            return super()._take_line(line)
        self.state = State.GREETED
        return self._step(self._sasl.respond(line))

    def _auth(self, argument: str) -> ServerEvent:
        name, space, initial = argument.partition(" ")
        mechanism = name.upper()
        if self._clear:
            return self._cleartext(self._sasl.known(mechanism), sasl.shown_user(mechanism, initial.encode()))
        if self.state is not State.GREETED or not self.esmtp:
            return self._bad("503 5.5.1", "Authenticated already" if self._logged_in else "EHLO first")
        if not name:
            return self._bad("501 5.5.4", "Syntax: AUTH mechanism")
        return self._step(self._sasl.begin(mechanism, initial.encode() if space else None))

    def _continuation(self, challenge: bytes) -> bytes:
        return b"334 " + encode(challenge) + b"\r\n"

    def _failure(self, failure: sasl.Failure) -> bytes:
        words = SASL_FAILURES[failure]
        return reply(words.smtp, words.text).encode()

    def _refusal(self, refused: Refused) -> bytes:
        words = REFUSALS[refused.reason]
        return reply(refused.code or words.smtp, refused.text or words.text).encode()

    def _attempted(self, ending: Ending) -> None:
        self.state, self._due = (State.ENDING if self._tally.attempt() else State.GREETED), ending

    def _cleartext(self, mechanism: str, user: str | None) -> CleartextAuthRefused:
        if self._tally.bad():
            self.state, self._due = State.ENDING, Ending.BAD_COMMANDS
        data = reply("538 5.7.11", "Authentication is refused before STARTTLS").encode()
        return CleartextAuthRefused(data, mechanism, user)
