"""SMTP submission (RFC 6409): nobody sends mail but who has logged in over TLS (RFC 4954).

Nothing leads to READY but a granted login, and no object outlives STARTTLS, so MAIL before AUTH can't be talked into.
"""

from __future__ import annotations

from tlsgate.dialogue import sasl
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Ending,
    Granted,
    LocalProtocolError,
    NeedData,
    Offer,
    Refused,
    Reply,
    ServerEvent,
    Verdict,
    ending_after,
)
from tlsgate.dialogue.replies import REFUSALS, SASL_FAILURES
from tlsgate.dialogue.smtp import MessageRules, Smtp
from tlsgate.dialogue.smtp_events import MailEvent
from tlsgate.dialogue.smtp_reply import reply
from tlsgate.dialogue.smtp_session import State


class Submission(Smtp):
    """One submission client."""

    def __init__(self, offer: Offer, channel: Channel, bounds: Bounds, rules: MessageRules) -> None:
        super().__init__(offer, channel, bounds, rules)
        self._logged_in = False
        self._sasl = sasl.Authentication(offer.mechanisms)

    @property
    def _open(self) -> bool:
        return self._logged_in

    def _channel_keyword(self) -> str:
        return "STARTTLS" if self._clear else "AUTH " + " ".join(self._offer.mechanisms)

    def _closed(self) -> ServerEvent:
        return self._bad("530 5.7.0", "STARTTLS first" if self._clear else "Authentication required")

    def _counts(self, verb: str) -> bool:
        del verb
        return not self._logged_in and self._tally.command()

    def _accepted(self) -> None:
        """Quotas bound what a user may send."""

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

    def _take_line(self, line: bytes) -> ServerEvent | MailEvent | NeedData:
        if self.state is not State.SASL:
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
