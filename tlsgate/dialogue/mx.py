"""SMTP from other servers (RFC 5321): no login, STARTTLS for those that want it, and for all where TLS is required."""

from __future__ import annotations

from tlsgate.dialogue import sasl
from tlsgate.dialogue.events import (
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Ending,
    Offer,
    ServerEvent,
)
from tlsgate.dialogue.smtp import MessageRules, Smtp
from tlsgate.dialogue.smtp_reply import reply
from tlsgate.dialogue.smtp_session import State

NOT_OFFERED = "not offered"
"""The reason of an AuthRejected here."""

# What has bounds of its own within a transaction. MAIL counts: each may be asked of the DNS and of the backend.
_OF_A_TRANSACTION = frozenset({"RCPT", "DATA", "BDAT"})


class Mx(Smtp):
    """One client, a server of others. ``require_tls``: no mail is taken in clear."""

    _forgives = False

    def __init__(
        self, offer: Offer, channel: Channel, bounds: Bounds, rules: MessageRules, *, require_tls: bool = False
    ) -> None:
        super().__init__(offer, channel, bounds, rules)
        self._needs_tls = require_tls and self._clear
        self._extensions -= {"AUTH"}  # AUTH= of MAIL is believed only of those that we know (RFC 4954 5)

    @property
    def _open(self) -> bool:
        return not self._needs_tls and bool(self.client_name)

    def _channel_keyword(self) -> str:
        return "STARTTLS" if self._clear else ""

    def _closed(self) -> ServerEvent:
        if not self.client_name:
            return self._bad("503 5.5.1", "EHLO first")
        return self._bad("530 5.7.0", "STARTTLS first")

    def _counts(self, verb: str) -> bool:
        return verb not in _OF_A_TRANSACTION and self._tally.command()

    def _accepted(self) -> None:
        self._tally.forgive_commands()
        self._refusals = 0

    def _auth(self, argument: str) -> ServerEvent:
        """No server logs in at another: who tries is guessing."""
        name, _, initial = argument.partition(" ")
        mechanism = name.upper() if name.upper() in sasl.MECHANISMS else "other"
        user = sasl.shown_user(name.upper(), initial.encode())
        if self._tally.bad():
            self.state, self._due = State.ENDING, Ending.BAD_COMMANDS
        data = reply("502 5.5.1", "Authentication is not offered here").encode()
        if self._clear:
            return CleartextAuthRefused(data, mechanism, user)
        return AuthRejected(data, mechanism, NOT_OFFERED, user)
