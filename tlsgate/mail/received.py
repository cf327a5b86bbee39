"""The Received field that a message gets from us (RFC 5321 4.4)."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import format_datetime

from msgspec import Struct

from tlsgate.admission.host_name import is_host_name
from tlsgate.dialogue.client import ClientFacts, Endpoint, NoName
from tlsgate.mail.header_field import field

_LITERAL = re.compile(r"\[[A-Za-z0-9:.]{2,64}\]")
_ENDS_COMMENT = re.compile(r"[^\x20-\x7e]|[()\\]")
_LONGEST_COMMENT = 255
# The IANA's names of what OpenSSL calls otherwise; those of TLS 1.3 are the same in both.
_REGISTERED = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}


class Tls(Struct, frozen=True):
    """What the handshake agreed on, in OpenSSL's words."""

    version: str
    cipher: str


def received(client: ClientFacts, by: str, tls: Tls | None, at: datetime, *, logged_in: bool) -> bytes:
    """The field with its line end.

    ``by``: our host name. ``tls``: None for mail in clear. ``at``: when, with a time zone. Nobody's user name is in it,
    nor a recipient: the message may go to others, who needn't know them.
    """
    words = [*_from(client), "by", by, "with", _protocol(client.esmtp, tls is not None, logged_in)]
    if client.session:
        words += ["id", client.session]
    if tls is not None:
        words += _tls(tls)
    words[-1] += ";"
    return field("Received", [*words, format_datetime(at)])


def _from(client: ClientFacts) -> list[str]:
    """The client's name for itself, and behind it in a comment what is known of it: its name and address."""
    name = "unknown" if isinstance(client.name, NoName) or not is_host_name(client.name) else client.name
    literal = _literal(client.source)
    known = f"({name} {literal})" if literal else f"({name})"
    if is_host_name(client.helo) or _LITERAL.fullmatch(client.helo):
        return ["from", client.helo, known]
    words = ["from", literal or "unknown", known]
    if client.helo:
        words.append(f"(helo={_ENDS_COMMENT.sub('?', client.helo[:_LONGEST_COMMENT])})")
    return words


def _literal(end: Endpoint | None) -> str:
    if end is None:
        return ""
    return f"[{end.address}]" if end.address.version == 4 else f"[IPv6:{end.address}]"


def _protocol(esmtp: bool, tls: bool, logged_in: bool) -> str:
    """RFC 3848."""
    return f"ESMTP{'S' if tls else ''}{'A' if logged_in else ''}" if esmtp else "SMTP"


def _tls(tls: Tls) -> list[str]:
    """RFC 8314 4.3: the clause "tls" with the suite's registered name; for the version there is a comment only."""
    registered = _REGISTERED.get(tls.cipher, tls.cipher)
    if registered.startswith("TLS_"):
        return ["tls", registered, f"({tls.version})"]
    return [f"({tls.version} {_ENDS_COMMENT.sub('?', tls.cipher)})"]
