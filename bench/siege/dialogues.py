"""What the clients say, by protocol, and which answer they must get: steps, one after the other."""

from __future__ import annotations

import base64
import re
from enum import StrEnum
from typing import NamedTuple

DOMAIN = "example.test"
_BODY = (b"x" * 70 + b"\r\n") * 14


class Protocol(StrEnum):
    IMAP = "imap"
    POP3 = "pop3"
    SUBMISSION = "submission"


class Step(NamedTuple):
    """Send ``say``, and go on when a reply begins with ``wanted``."""

    say: bytes
    wanted: bytes


def login(protocol: Protocol, user: str) -> list[Step]:
    """From the greeting on. The last answer names the backend, where the backend gives it."""
    match protocol:
        case Protocol.IMAP:
            return [Step(b"", b"* OK"), Step(b"a1 LOGIN %b secret99\r\n" % user.encode(), b"a1 OK"), *noop(protocol)]
        case Protocol.POP3:
            named = Step(b"USER %b\r\n" % user.encode(), b"+OK")
            return [Step(b"", b"+OK"), named, Step(b"PASS secret99\r\n", b"+OK"), *noop(protocol)]
        case Protocol.SUBMISSION:
            shown = base64.b64encode(b"\0%b\0secret99" % user.encode())
            greeted = [Step(b"", b"220"), Step(b"EHLO client.%b\r\n" % DOMAIN.encode(), b"250")]
            return [*greeted, Step(b"AUTH PLAIN %b\r\n" % shown, b"235")]


def noop(protocol: Protocol) -> list[Step]:
    """A sign of life."""
    match protocol:
        case Protocol.IMAP:
            return [Step(b"a5 NOOP\r\n", b"a5 OK")]
        case Protocol.POP3:
            return [Step(b"NOOP\r\n", b"+OK")]
        case Protocol.SUBMISSION:
            return [Step(b"NOOP\r\n", b"250")]


def logout(protocol: Protocol) -> list[Step]:
    """The last answer is followed by the end."""
    wanted = {Protocol.IMAP: b"a9 OK", Protocol.POP3: b"+OK", Protocol.SUBMISSION: b"221"}
    return [Step(b"a9 LOGOUT\r\n" if protocol is Protocol.IMAP else b"QUIT\r\n", wanted[protocol])]


def message(sender: str, number: int) -> list[Step]:
    """One of submission, for the recipient that ``recipient`` gives."""
    to = recipient(number)
    text = f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {number}\r\n\r\n".encode() + _BODY
    return [
        Step(f"MAIL FROM:<{sender}>\r\n".encode(), b"250"),
        Step(f"RCPT TO:<{to}>\r\n".encode(), b"250"),
        Step(b"DATA\r\n", b"354"),
        Step(text + b".\r\n", b"250"),
    ]


def reset() -> list[Step]:
    """Give a transaction up."""
    return [Step(b"RSET\r\n", b"250")]


def recipient(number: int) -> str:
    """Whom a numbered message is for."""
    return f"{number}@{DOMAIN}"


# A literal of this size, which nobody reads to its end soon.
FETCH = b"a3 FETCH 1 BODY[]\r\n"
_LATER = re.compile(rb"\[UNAVAILABLE\]|\[SYS/TEMP\]|\[INUSE\]|\[LIMIT\]|^4[0-9][0-9]|try again later", re.IGNORECASE)
_PORT = re.compile(rb" at ([0-9]+)$")


def is_reply(protocol: Protocol, line: bytes, wanted: bytes) -> bool:
    """Whether a line is one that a command or a connect ends with."""
    match protocol:
        case Protocol.IMAP:
            return line.startswith(b"a") or (wanted == b"* OK" and line.startswith(b"* "))
        case Protocol.POP3:
            return True
        case Protocol.SUBMISSION:
            return line[3:4] != b"-"


def is_for_now(reply: bytes) -> bool:
    """Whether it only puts the client off, and calls nothing wrong."""
    return _LATER.search(reply) is not None


def backend_in(reply: bytes) -> int:
    """The port of the backend that has answered; 0 where it isn't told."""
    found = _PORT.search(reply)
    return int(found[1]) if found else 0
