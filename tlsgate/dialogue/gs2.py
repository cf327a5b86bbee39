"""The GS2 header that begins a client's first message in SCRAM and OAUTHBEARER (RFC 5801 4, RFC 5802 7)."""

from __future__ import annotations

import re

from msgspec import Struct

from tlsgate.dialogue.challenge import SaslError

_HEADER = re.compile(r"(?:(?P<flag>[ny])|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>[^,\0]+))?,")
_ESCAPED = re.compile(r"=(2C|3D)?")


class Gs2Header(Struct, frozen=True):
    """``flag``: "n" the client can't bind to the channel, "y" it can but thinks that we can't, "p" it does.

    ``binding``: the binding's type with "p", else "". ``authzid``: "" for none. ``text``: the header as it was sent.
    """

    flag: str
    binding: str
    authzid: str
    text: str


def read_gs2(message: str) -> tuple[Gs2Header, str]:
    """The header and what follows it. Raises SaslError."""
    found = _HEADER.match(message)
    if found is None:
        raise SaslError("malformed GS2 header")
    authzid = saslname(found["authzid"] or "")
    return Gs2Header(found["flag"] or "p", found["binding"] or "", authzid, found[0]), message[found.end() :]


def saslname(text: str) -> str:
    """A name with its "=2C" and "=3D" undone; any other "=" must fail (RFC 5802 5.1). Raises SaslError."""

    def undone(escaped: re.Match[str]) -> str:
        match escaped[1]:
            case "2C":
                return ","
            case "3D":
                return "="
        raise SaslError("malformed name")

    return _ESCAPED.sub(undone, text)
