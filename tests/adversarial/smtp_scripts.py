"""Steps and words that cases of SMTP share: a transaction up to its message, by protocol."""

from __future__ import annotations

from tests.adversarial.case import SMTP_LOGIN, SUBMISSION
from tlsgate.config import Protocol

ENVELOPE = "MAIL FROM:<a@example.org>⏎RCPT TO:<bob@example.org>⏎"
QUEUED = "250 2.0.0 Queued⏎"
ENDING = "421 4.7.0 mail.example.org"
TEXT = "Subject: one⏎⏎first⏎"


def hello(protocol: Protocol) -> str:
    """The step that lets mail be sent."""
    return "L:" if protocol is SUBMISSION else "H:"


def greeted(protocol: Protocol) -> str:
    """What a backend has heard before it gets an envelope."""
    return SMTP_LOGIN if protocol is SUBMISSION else "EHLO mail.example.org⏎"


def sender(protocol: Protocol) -> str:
    """The reply to MAIL: another server's sender is passed on with its first recipient."""
    return "250 2.0.0 Ok MAIL⏎" if protocol is SUBMISSION else "250 2.1.0 Ok⏎"


def addressed(protocol: Protocol) -> str:
    """Up to a message for one recipient."""
    return f"{hello(protocol)}\nC: {ENVELOPE}\nS: {sender(protocol)}250 2.0.0 Ok RCPT⏎\n"


def begun(protocol: Protocol) -> str:
    """Up to the text of a message."""
    return f"{addressed(protocol)}C: DATA⏎\nS: 354 Go on⏎\n"


def opening(protocol: Protocol) -> str:
    """What a backend has heard before the text of a message."""
    return f"{greeted(protocol)}{ENVELOPE}DATA⏎"
