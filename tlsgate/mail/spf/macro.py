"""Macros (RFC 7208 7): parsed once, before anything of a record is evaluated, and expanded within a bound."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import quote

from msgspec import Struct

from tlsgate.admission.reversed_name import ClientIP
from tlsgate.mail.spf.faults import PermError

# A name has 253 characters, an explanation a few hundred: what is or grows longer than this is an attack.
_LONGEST = 4096
_ALL_PARTS = 999
_ONLY_IN_EXPLANATIONS = frozenset("crt")
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_TOKEN = re.compile(
    r"%\{(?P<letter>[slodiphcrtv])(?P<digits>[0-9]*)(?P<reverse>r?)(?P<delimiters>[-.+,/_=]*)\}"
    r"|%(?P<escape>[%_-])|(?P<literal>[ -$&-~]+)",
    re.IGNORECASE,
)
_TOP_LABEL = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")


class Macro(Struct, frozen=True):
    """``letter``: in lower case. ``kept``: this many of the parts on the right."""

    letter: str
    kept: int
    reverse: bool
    delimiters: str
    url_escaped: bool


MacroString = tuple[str | Macro, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What macros stand for (RFC 7208 7.2). ``name``: the validated domain name of the client, for "p"."""

    client: ClientIP
    sender: str
    domain: str
    helo: str
    receiver: str
    name: str


def macro_string(text: str) -> MacroString:
    """Parse what may have every macro: an explanation, the value of an unknown modifier. Raises PermError."""
    return tuple(_part(each) for each in _tokens(text))


def domain_spec(text: str) -> MacroString:
    """Parse a domain-spec (RFC 7208 7.1): it ends in a macro or in a dot and a top label. Raises PermError."""
    tokens = _tokens(text)
    if not tokens:
        raise PermError("an empty domain")
    if (literal := tokens[-1]["literal"]) is not None:
        _, dot, label = literal.removesuffix(".").rpartition(".")
        if not dot or not _TOP_LABEL.fullmatch(label):
            raise PermError("a domain without a top label")
    parts = tuple(_part(each) for each in tokens)
    if not _ONLY_IN_EXPLANATIONS.isdisjoint(letters(parts)):
        raise PermError("a macro that only explanations may have")
    return parts


def letters(parts: MacroString) -> frozenset[str]:
    """The macro letters of a text."""
    return frozenset(each.letter for each in parts if isinstance(each, Macro))


def expand(parts: MacroString, values: Values) -> str:
    """The text that comes of it. Raises PermError when its macros stand for more than any name or explanation has."""
    expanded: list[str] = []
    length = 0
    for part in parts:
        value = part if isinstance(part, str) else _value(part.letter, values)
        length += len(value)
        if length > _LONGEST:
            raise PermError("macros that expand to a text without end")
        expanded.append(value if isinstance(part, str) else _transformed(part, value))
    return "".join(expanded)


def _tokens(text: str) -> list[re.Match[str]]:
    if len(text) > _LONGEST:
        raise PermError("a text without end")
    tokens: list[re.Match[str]] = []
    at = 0
    while at < len(text):
        if (token := _TOKEN.match(text, at)) is None:
            raise PermError("a bad macro")
        tokens.append(token)
        at = token.end()
    return tokens


def _part(token: re.Match[str]) -> str | Macro:
    if (literal := token["literal"]) is not None:
        return literal
    if (escape := token["escape"]) is not None:
        return _ESCAPES[escape]
    digits = token["digits"].lstrip("0")
    if token["digits"] and not digits:
        raise PermError("a macro of no parts")
    kept = int(digits) if digits and len(digits) <= 3 else _ALL_PARTS
    letter = token["letter"]
    return Macro(letter.lower(), kept, bool(token["reverse"]), token["delimiters"] or ".", letter.isupper())


def _transformed(macro: Macro, value: str) -> str:
    parts: Sequence[str] = re.split(f"[{re.escape(macro.delimiters)}]", value)
    if macro.reverse:
        parts = parts[::-1]
    text = ".".join(parts[-macro.kept :])
    return quote(text, safe="") if macro.url_escaped else text


def _value(letter: str, values: Values) -> str:
    local_part, _, sender_domain = values.sender.rpartition("@")
    match letter:
        case "s":
            return values.sender
        case "l":
            return local_part
        case "o":
            return sender_domain
        case "d":
            return values.domain
        case "i":
            return str(values.client) if _is_ip4(values) else ".".join(f"{int(values.client):032X}")
        case "p":
            return values.name
        case "v":
            return "in-addr" if _is_ip4(values) else "ip6"
        case "h":
            return values.helo
        case "c":
            return str(values.client)
        case "r":
            return values.receiver
        case _:  # "t"
            return str(int(time.time()))


def _is_ip4(values: Values) -> bool:
    return isinstance(values.client, IPv4Address)
