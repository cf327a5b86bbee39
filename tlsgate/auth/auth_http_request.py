"""The question of nginx's auth_http protocol: the headers that ngx_mail_auth_http_module sends, in its order.

What differs: HTTP/1.1, and a Host that names the port; Client-IP is never an IPv4 address mapped into IPv6; a client's
certificate itself (Auth-SSL-Cert) isn't sent.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from tlsgate.auth.attempt import Proxied, Secured
from tlsgate.config import Protocol
from tlsgate.dialogue.client import Endpoint, NoName
from tlsgate.dialogue.credentials import Credentials
from tlsgate.http.message import Headers


class External(Struct, frozen=True):
    """Who logs in by a certificate (SASL EXTERNAL): the ``user`` to be. Raises ValueError if that is nobody."""

    user: str

    def __post_init__(self) -> None:
        Credentials(self.user, b"none")


class Envelope(Struct, frozen=True):
    """Mail without a login. ``helo``: the name after HELO or EHLO. The commands are whole, without line ends.

    Raises ValueError on a control character.
    """

    helo: str
    mail_command: str
    rcpt_command: str

    def __post_init__(self) -> None:
        if _CONTROL.search(self.helo + self.mail_command + self.rcpt_command):
            raise ValueError("control character in an envelope")


class Question(Struct, frozen=True):
    """Whether somebody may log in, or send mail.

    ``attempt``: how many in this session, with this one. ``name``: the client's in reverse DNS, told for SMTP only.
    Raises ValueError on an authzid for somebody else, which the protocol can't carry.
    """

    protocol: Protocol
    who: Credentials | External | Envelope
    client: IPv4Address | IPv6Address
    attempt: int = 1
    name: str | NoName = NoName.UNAVAILABLE
    proxied: Proxied | None = None
    tls: Secured | None = None

    def __post_init__(self) -> None:
        if isinstance(self.who, Credentials) and self.who.authzid not in ("", self.who.user):
            raise ValueError("an authzid can't be asked about")


def request_headers(question: Question) -> Headers:
    """What to send with GET."""
    smtp = question.protocol in (Protocol.SUBMISSION, Protocol.MX)
    return (
        *_who(question.who),
        ("Auth-Protocol", b"smtp" if smtp else question.protocol.value.encode()),
        ("Auth-Login-Attempt", b"%d" % question.attempt),
        ("Client-IP", _address(question.client)),
        *([("Client-Host", question.name.encode())] if smtp else []),
        *_proxied(question.proxied),
        *_envelope(question.who),
        *_tls(question.tls),
    )


def escaped(text: bytes) -> bytes:
    """As nginx escapes a user and a password: control characters (but not DEL), space and "%" become %XX."""
    return _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], text)


_ESCAPED = re.compile(rb"[\x00-\x20%]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and what has no UTF-8


def _who(who: Credentials | External | Envelope) -> Headers:
    match who:
        case Credentials():
            method, user, secret = b"plain", who.user, who.secret
        case External():
            method, user, secret = b"external", who.user, b""
        case Envelope():
            method, user, secret = b"none", "", b""
    return ("Auth-Method", method), ("Auth-User", escaped(user.encode())), ("Auth-Pass", escaped(secret))


def _address(address: IPv4Address | IPv6Address) -> bytes:
    return str(Endpoint(address, 0).address).encode()


def _proxied(proxied: Proxied | None) -> Headers:
    if proxied is None:
        return ()
    return (
        ("Proxy-Protocol-Addr", _address(proxied.source.address)),
        ("Proxy-Protocol-Port", b"%d" % proxied.source.port),
        ("Proxy-Protocol-Server-Addr", _address(proxied.destination.address)),
        ("Proxy-Protocol-Server-Port", b"%d" % proxied.destination.port),
    )


def _envelope(who: Credentials | External | Envelope) -> Headers:
    if not isinstance(who, Envelope):
        return ()
    return (
        ("Auth-SMTP-Helo", who.helo.strip().encode()),
        ("Auth-SMTP-From", who.mail_command.strip().encode()),
        ("Auth-SMTP-To", who.rcpt_command.strip().encode()),
    )


def _tls(tls: Secured | None) -> Headers:
    if tls is None:
        return ()
    certificate = tls.certificate
    told: list[tuple[str, str]] = [("Protocol", tls.version), ("Cipher", tls.cipher)]
    if tls.asks:
        told.append(("Verify", "SUCCESS" if certificate else "NONE"))
    if certificate is not None:
        told += [("Subject", certificate.subject), ("Issuer", certificate.issuer)]
        told += [("Serial", certificate.serial), ("Fingerprint", certificate.fingerprint)]
    return ("Auth-SSL", b"on"), *((f"Auth-SSL-{name}", value.encode()) for name, value in told if value)
