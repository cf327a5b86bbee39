"""Events of a mail transaction, beside those that all dialogues have."""

from __future__ import annotations

from msgspec import Struct

from tlsgate.dialogue.smtp_data import BodyFault
from tlsgate.dialogue.smtp_syntax import Parameters, Path


class Mail(Struct, frozen=True):
    """MAIL FROM, with all parameters that the client has given: the backend may lack what they are for.

    Answer by ``answer``.
    """

    sender: Path
    parameters: Parameters


class Rcpt(Struct, frozen=True):
    """RCPT TO, with parameters as MAIL's. Answer by ``answer``."""

    recipient: Path
    parameters: Parameters


class Data(Struct, frozen=True):
    """DATA or a first BDAT, with a recipient that stands. Answer by ``answer``: 354 leads to body events.

    For a BDAT ``answer`` gives nothing to be sent: what the client is told is an event, behind the chunk's octets.
    """


class Body(Struct, frozen=True):
    """Octets of the message for the backend, dot-stuffed, without the end of data."""

    data: bytes


class EndOfData(Struct, frozen=True):
    """The message's end. ``fault`` tells why it can't stand, ``size`` its octets. Answer by ``answer``."""

    size: int
    fault: BodyFault | None


class Abandon(Struct, frozen=True):
    """The transaction under way is over without a message: write ``data`` and tell the backend.

    RSET, EHLO, or the last chunk of a message that was refused.
    """

    data: bytes


MailEvent = Mail | Rcpt | Data | Body | EndOfData | Abandon
