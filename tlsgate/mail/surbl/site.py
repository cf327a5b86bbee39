"""A host as a URI or a text has it, read as browsers read it (RFC 3986 3.2.2, RFC 5890, the WHATWG's URL standard)."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote

from tlsgate.admission.reversed_name import ClientIP, plain

Site = str | ClientIP
"""What a list is asked about: a name, lower-case in A-labels without the last dot, or an address."""

_LONGEST = 1000  # 253 octets, each percent-encoded, and some that are ignored
# Drawn as nothing, and dropped from names (UTS 46 4).
INVISIBLE = re.compile("[\0\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]+")
_END = re.compile(r"[\s!-,/:-@\[-^`{-~]")  # no name has these: it is over, whatever they are to mean
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_-])?")
_NUMBER = re.compile(r"(?:0x([0-9a-f]*)|(0[0-7]*)|([1-9][0-9]*))")


def read_site(text: str) -> Site | None:
    """The name or address that is meant; None for what no client would connect to. Takes "[…]" for IPv6."""
    if not text or len(text) > _LONGEST:
        return None
    if text.startswith("["):
        return _ipv6(text[1:].partition("]")[0])
    name = _mapped(unquote(text) if "%" in text else text)
    if end := _END.search(name):
        name = name[: end.start()]
    labels = name.rstrip(".").split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return _ipv4(labels)
    if max(map(len, labels)) > 63:
        return None
    labels = [each if each.isascii() else f"xn--{each.encode('punycode').decode()}" for each in labels]
    name = ".".join(labels)
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        return None
    return name


def _mapped(name: str) -> str:
    """Small letters of one kind, as UTS 46 has it without the transition: wide and fancy forms are the plain ones."""
    if name.isascii():
        return name.replace("\0", "").lower()
    name = unicodedata.normalize("NFKC", INVISIBLE.sub("", name)).replace("\N{GREEK CAPITAL LETTER SIGMA}", "\u03c3")
    return unicodedata.normalize("NFKC", name.lower()).replace("\N{IDEOGRAPHIC FULL STOP}", ".")


def _ipv4(parts: list[str]) -> IPv4Address | None:
    """One to four numbers, decimal, octal or hexadecimal; the last fills what the others leave."""
    numbers = [_NUMBER.fullmatch(each) for each in parts]
    values = [
        int(found[1] or "0", 16) if found[1] is not None else int(found[0], 8 if found[2] else 10)
        for found in numbers
        if found is not None
    ]
    if not 1 <= len(values) == len(parts) <= 4 or max(values[:-1], default=0) > 255:
        return None
    if values[-1] >= 256 ** (5 - len(values)):
        return None
    return IPv4Address(sum(each << 8 * (3 - at) for at, each in enumerate(values[:-1])) + values[-1])


def _ipv6(text: str) -> ClientIP | None:
    try:
        return plain(IPv6Address(text.partition("%")[0]))
    except AddressValueError:
        return None
