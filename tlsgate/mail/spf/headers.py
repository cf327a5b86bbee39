"""What a message is told of its check, as header text. All that a stranger chose is quoted: it says nothing else."""

from __future__ import annotations

import re

from tlsgate.admission.reversed_name import ClientIP, plain
from tlsgate.mail.spf.check import mail_from_identity
from tlsgate.mail.spf.result import Identity, SpfResult

_LONGEST = 320  # characters: RFC 5321 4.5.3.1's longest mailbox; twice that still fits into a line
_ATOM = r"[A-Za-z0-9_-]+"
_BARE = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_BARE_MAILBOX = re.compile(rf"[A-Za-z0-9_+=-]+(?:\.[A-Za-z0-9_+=-]+)*@{_ATOM}(?:\.{_ATOM})*")


def received_spf(
    result: SpfResult, identity: Identity, *, client: ClientIP, mail_from: str, helo: str, receiver: str
) -> str:
    """The value of a Received-SPF field (RFC 7208 9.1), folded; no line is longer than 998 octets."""
    pairs = {
        "receiver": receiver,
        "identity": str(identity),
        "client-ip": str(plain(client)),
        "envelope-from": mail_from_identity(mail_from, helo),
        "helo": helo,
        "mechanism": result.mechanism,
        "problem": result.problem,
    }
    if identity is Identity.HELO and not mail_from:
        del pairs["envelope-from"]
    said = [f"{key}={_value(text)}" for key, text in pairs.items() if text]
    return f"{result.result} " + ";\r\n\t".join(said)


def authentication_results(result: SpfResult, identity: Identity, *, mail_from: str, helo: str) -> str:
    """The part of an Authentication-Results field that SPF has (RFC 8601 2.2 and 2.7.2), folded, without its ";"."""
    name = helo if identity is Identity.HELO else mail_from_identity(mail_from, helo)
    value = name if _BARE_MAILBOX.fullmatch(name[:_LONGEST]) else _value(name)
    reason = f"\r\n\treason={_quoted(result.problem)}" if result.problem else ""
    return f"spf={result.result}{reason}\r\n\tsmtp.{identity}={value}"


def _value(text: str) -> str:
    """A dot-atom where it can be one, which is a token of MIME too; else a quoted-string."""
    return text if len(text) <= _LONGEST and _BARE.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    """A quoted-string (RFC 5322 3.2.4) of printable ASCII, with "?" in the place of all else."""
    printable = "".join(each if " " <= each <= "~" else "?" for each in text[:_LONGEST])
    return '"' + re.sub(r'(["\\])', r"\\\1", printable) + '"'
