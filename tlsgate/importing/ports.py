"""Mail's ports: what they are called, and what is spoken there."""

from __future__ import annotations

from tlsgate.config.enums import Protocol, TlsMode
from tlsgate.config.fault import Wrong

# By IANA's names, and those that services files had before.
_NUMBERS = {
    "smtp": 25,
    "mail": 25,
    "pop3": 110,
    "pop-3": 110,
    "imap": 143,
    "imap2": 143,
    "imap4": 143,
    "ssmtp": 465,
    "smtps": 465,
    "urd": 465,
    "submissions": 465,
    "submission": 587,
    "imaps": 993,
    "imap4s": 993,
    "pop3s": 995,
}
_SPOKEN = {
    25: Protocol.MX,
    110: Protocol.POP3,
    143: Protocol.IMAP,
    465: Protocol.SUBMISSION,
    587: Protocol.SUBMISSION,
    993: Protocol.IMAP,
    995: Protocol.POP3,
}


def number(port: str) -> int:
    """A port by its number or its name. Raises Wrong."""
    if port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535:
        return int(port)
    try:
        return _NUMBERS[port.lower()]
    except KeyError:
        raise Wrong("is not a port that is known here") from None


def spoken_at(port: int) -> Protocol | None:
    """What is spoken at a well-known port; None at any other."""
    return _SPOKEN.get(port)


def usual_name(protocol: Protocol, tls: TlsMode) -> str:
    """What a listener is called."""
    return f"{protocol}s" if tls is TlsMode.IMPLICIT else str(protocol)
