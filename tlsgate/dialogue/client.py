"""Who the client is, as a backend may be told: by a PROXY header, XCLIENT or IMAP's ID."""

from __future__ import annotations

import enum
import re
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct
from msgspec.structs import force_setattr

# What a backend that decodes a value could take for the end of a line, and what has no UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SESSION = re.compile(r"[A-Za-z0-9._+/-]{0,64}")  # Dovecot takes no longer one


class NoName(enum.StrEnum):
    """Why a client has no name, in XCLIENT's words: reverse DNS has none, or could not be asked."""

    UNAVAILABLE = "[UNAVAILABLE]"
    TEMPUNAVAIL = "[TEMPUNAVAIL]"


class Endpoint(Struct, frozen=True):
    """One end of a TCP connection. IPv4 mapped into IPv6 becomes the IPv4 address, a zone is dropped.

    Raises ValueError on a port that is none.
    """

    address: IPv4Address | IPv6Address
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError("port out of range")
        if isinstance(self.address, IPv6Address):
            plain = self.address.ipv4_mapped or IPv6Address(int(self.address))
            force_setattr(self, "address", plain)


class ClientFacts(Struct, frozen=True):
    """A client: its end of the connection, and ours that it reached; None where that is no TCP.

    ``session``: our id of it, at most 64 letters, digits and "._+/-". ``name``: its verified name in reverse DNS.
    ``helo``: what it called itself in EHLO (``esmtp``) or HELO, "" for nothing. ``login``: who it is, for an SMTP
    backend that isn't asked for a login. ``id_fields``: its own ID (RFC 2971).
    Raises ValueError on a control character, which no backend may ever decode from what we send.
    """

    source: Endpoint | None
    destination: Endpoint | None
    session: str = ""
    name: str | NoName = NoName.UNAVAILABLE
    helo: str = ""
    esmtp: bool = True
    login: str = ""
    id_fields: tuple[tuple[str, str | None], ...] = ()

    def __post_init__(self) -> None:
        if _FORBIDDEN.search(self.helo) or _FORBIDDEN.search(self.login):
            raise ValueError("control character in a client's name")
        if _SESSION.fullmatch(self.session) is None:
            raise ValueError("not a session id")
