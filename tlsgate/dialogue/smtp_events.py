"""Events of a mail transaction, beside those that all dialogues have."""

from __future__ import annotations

from dataclasses import dataclass

from tlsgate.dialogue.smtp_data import BodyFault
from tlsgate.dialogue.smtp_syntax import Parameters, Path


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM, with all parameters that the client has given: the backend may lack what they are for.

    Answer by ``answer``.
    """

    sender: Path
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO, with parameters as MAIL's. Answer by ``answer``."""

    recipient: Path
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Data:
    """DATA or a first BDAT, with a recipient that stands. Answer by ``answer``: 354 leads to body events.

    For a BDAT ``answer`` gives nothing to be sent: what the client is told is an event, behind the chunk's octets.
    """


@dataclass(frozen=True, slots=True)
class Body:
    """Octets of the message for the backend, dot-stuffed, without the end of data."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndOfData:
    """The message's end. ``fault`` tells why it can't stand, ``size`` its octets. Answer by ``answer``."""

    size: int
    fault: BodyFault | None


@dataclass(frozen=True, slots=True)
class Abandon:
    """The transaction under way is over without a message: write ``data`` and tell the backend.

    RSET, EHLO, or the last chunk of a message that was refused.
    """

    data: bytes


MailEvent = Mail | Rcpt | Data | Body | EndOfData | Abandon
