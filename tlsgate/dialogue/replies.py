"""What is said for which reason, one row a reason: IMAP code and text, POP3 code, SMTP code and enhanced code.

Codes: IMAP RFC 5530, POP3 RFC 2449 8 and RFC 3206, SMTP RFC 3463 and RFC 4954 6.
"""

from __future__ import annotations

import re

from msgspec import Struct

from tlsgate.dialogue.events import Ending, Refusal
from tlsgate.dialogue.sasl import Failure


class Words(Struct, frozen=True):
    """One reason in the three protocols. Empty codes are left out of the reply."""

    imap: str
    pop3: str
    smtp: str
    text: str


REFUSALS: dict[Refusal, Words] = {
    Refusal.AUTHENTICATION_FAILED: Words("AUTHENTICATIONFAILED", "AUTH", "535 5.7.8", "Authentication failed"),
    Refusal.AUTHORIZATION_FAILED: Words("AUTHORIZATIONFAILED", "AUTH", "535 5.7.8", "Not authorized"),
    Refusal.EXPIRED: Words("EXPIRED", "AUTH", "535 5.7.8", "Password expired"),
    Refusal.UNAVAILABLE: Words("UNAVAILABLE", "SYS/TEMP", "454 4.7.0", "Temporary failure, try again later"),
    Refusal.LIMIT: Words("LIMIT", "SYS/TEMP", "454 4.7.0", "Too many connections, try again later"),
    Refusal.IN_USE: Words("INUSE", "IN-USE", "454 4.7.0", "Mailbox is in use, try again later"),
    Refusal.CONTACT_ADMIN: Words("CONTACTADMIN", "SYS/PERM", "454 4.7.0", "Contact your administrator"),
}

# IMAP says BAD where there is no code (RFC 9051 6.2.2).
SASL_FAILURES: dict[Failure, Words] = {
    Failure.MECHANISM: Words("CANNOT", "", "504 5.5.4", "Mechanism not supported"),
    Failure.CANCELLED: Words("", "", "501 5.7.0", "Authentication cancelled"),
    Failure.RESPONSE: Words("", "", "501 5.5.2", "Bad authentication response"),
}

ENDINGS: dict[Ending, Words] = {
    Ending.LOGOUT: Words("", "", "221 2.0.0", "Bye"),
    Ending.LINE_TOO_LONG: Words("", "", "421 4.7.0", "Line too long"),
    Ending.LITERAL_TOO_LONG: Words("", "", "421 4.7.0", "Literal too long"),
    Ending.BAD_COMMANDS: Words("", "", "421 4.7.0", "Too many bad commands"),
    Ending.COMMANDS: Words("", "", "421 4.7.0", "Too many commands"),
    Ending.AUTH_ATTEMPTS: Words("", "", "421 4.7.0", "Too many authentication failures"),
    Ending.UNAVAILABLE: Words("UNAVAILABLE", "SYS/TEMP", "421 4.3.2", "No login is possible now, try again later"),
    Ending.STARTTLS_INJECTION: Words("", "", "421 4.7.0", "Data behind STARTTLS"),
    Ending.FOREIGN_PROTOCOL: Words("", "", "421 4.7.0", "Not the protocol spoken here"),
    Ending.MESSAGE_TOO_LARGE: Words("", "", "421 4.3.4", "Message far too large"),
    Ending.GREETING_TIMEOUT: Words("", "SYS/TEMP", "421 4.4.2", "Timeout before TLS"),
    Ending.LOGIN_TIMEOUT: Words("", "SYS/TEMP", "421 4.4.2", "Timeout before login"),
    Ending.IDLE_TIMEOUT: Words("", "SYS/TEMP", "421 4.4.2", "Idle for too long"),
    Ending.OVER_CAPACITY: Words("UNAVAILABLE", "SYS/TEMP", "421 4.3.2", "Too many connections, try again later"),
    Ending.OVER_NETWORK_CAP: Words("LIMIT", "SYS/TEMP", "421 4.7.0", "Too many connections from your network"),
    Ending.OVER_RATE: Words("LIMIT", "SYS/TEMP", "421 4.7.0", "Too many new connections from your network, slow down"),
    Ending.BLOCKED: Words("CONTACTADMIN", "SYS/PERM", "554 5.7.1", "Your network is refused here"),
    Ending.BANNED: Words("UNAVAILABLE", "SYS/TEMP", "421 4.7.0", "Your network is banned here for now"),
    Ending.DNSBL: Words("CONTACTADMIN", "SYS/PERM", "554 5.7.1", "Your network is on a block list"),
    Ending.DNSBL_TEMPFAIL: Words("UNAVAILABLE", "SYS/TEMP", "421 4.7.1", "Your network is on a block list for now"),
    Ending.SHUTDOWN: Words("UNAVAILABLE", "SYS/TEMP", "421 4.3.2", "Shutting down, try again later"),
    Ending.KICKED: Words("UNAVAILABLE", "SYS/TEMP", "421 4.3.2", "Ended by an administrator"),
    Ending.FAULT: Words("UNAVAILABLE", "SYS/TEMP", "421 4.3.0", "Internal fault, try again later"),
}

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def printable(text: bytes, limit: int = 400) -> str:
    """A peer's text made fit to be passed on or logged: printable ASCII, at most ``limit`` characters."""
    decoded = text.decode("ascii", errors="replace")
    if not (decoded.isascii() and decoded.isprintable()):
        decoded = _UNPRINTABLE.sub("?", decoded)
    return decoded[:limit].strip()
