"""Records (RFC 7208 4.5, 4.6.1 and 12): text in, values out. A fault anywhere spoils the whole record (4.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from tlsgate.dns import Kind
from tlsgate.mail.spf.faults import PermError
from tlsgate.mail.spf.macro import MacroString, domain_spec, macro_string
from tlsgate.mail.spf.result import Result

# RFC 7208 3.4 wants records that fit into 512 octets; the longest that are about have some thousands.
_LONGEST = 8192
_SHOWN = 60
_VERSION = "v=spf1"
_QUALIFIERS = {"": Result.PASS, "+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)")
_DIRECTIVE = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9._-]*)(.*)")
_HOSTS = re.compile(r"(?::(.*?))?(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?")
_IP4 = re.compile(r":([0-9.]+)(?:/(0|[1-9][0-9]?))?")
_IP6 = re.compile(r":([0-9A-Fa-f:.]+)(?:/(0|[1-9][0-9]{0,2}))?")


class All(Struct, frozen=True):
    """RFC 7208 5.1."""


class Include(Struct, frozen=True):
    """RFC 7208 5.2."""

    target: MacroString


class Hosts(Struct, frozen=True):
    """ "a" and "mx" (RFC 7208 5.3 and 5.4). ``target`` None: the domain that is checked. ``kind``: A or MX."""

    kind: Kind
    target: MacroString | None
    ip4_prefix: int
    ip6_prefix: int


class Ptr(Struct, frozen=True):
    """RFC 7208 5.5. ``target`` None: the domain that is checked."""

    target: MacroString | None


class Ip(Struct, frozen=True):
    """ "ip4" and "ip6" (RFC 7208 5.6)."""

    address: IPv4Address | IPv6Address
    prefix: int


class Exists(Struct, frozen=True):
    """RFC 7208 5.7."""

    target: MacroString


Mechanism = All | Include | Hosts | Ptr | Ip | Exists


class Directive(Struct, frozen=True):
    """A mechanism and what it means when it matches. ``text``: as it stands in the record."""

    text: str
    result: Result
    mechanism: Mechanism


class Record(Struct, frozen=True):
    """``redirect``, ``explanation``: the modifiers' domains, None when absent (RFC 7208 6.1 and 6.2)."""

    directives: tuple[Directive, ...]
    redirect: MacroString | None
    explanation: MacroString | None


def select(texts: Sequence[str]) -> str | None:
    """The one SPF record among TXT records (RFC 7208 4.5). Raises PermError when there are several."""
    found = [each for each in texts if each[: len(_VERSION) + 1].lower() in (_VERSION, f"{_VERSION} ")]
    if len(found) > 1:
        raise PermError("more than one SPF record")
    return found[0] if found else None


def parse(text: str) -> Record:
    """Read what ``select`` has found. Raises PermError."""
    if len(text) > _LONGEST:
        raise PermError(f"a record of more than {_LONGEST} octets")
    directives: list[Directive] = []
    domains: dict[str, MacroString] = {}
    for term in text[len(_VERSION) :].split(" "):
        if not term:
            continue
        if not (term.isascii() and term.isprintable()):
            raise PermError("a term with a character that isn't printable ASCII")
        try:
            if (modifier := _MODIFIER.fullmatch(term)) is not None:
                _modifier(modifier[1].lower(), modifier[2], domains)
            else:
                directives.append(_directive(term))
        except PermError as error:
            raise PermError(f"{term[:_SHOWN]}: {error}") from None
    return Record(tuple(directives), domains.get("redirect"), domains.get("exp"))


def _modifier(name: str, value: str, domains: dict[str, MacroString]) -> None:
    if name not in ("redirect", "exp"):
        macro_string(value)
        return
    if name in domains:
        raise PermError("stands there twice")
    domains[name] = domain_spec(value)


def _directive(term: str) -> Directive:
    found = _DIRECTIVE.fullmatch(term)
    parser = _MECHANISMS.get(found[2].lower()) if found else None
    if found is None or parser is None:
        raise PermError("no such mechanism")
    return Directive(term, _QUALIFIERS[found[1]], parser(found[3]))


def _all(rest: str) -> All:
    if rest:
        raise PermError("takes no argument")
    return All()


def _domain(rest: str) -> MacroString:
    if not rest.startswith(":"):
        raise PermError("lacks its domain")
    return domain_spec(rest[1:])


def _ptr(rest: str) -> Ptr:
    return Ptr(_domain(rest) if rest else None)


def _hosts(kind: Kind, rest: str) -> Hosts:
    found = _HOSTS.fullmatch(rest)
    if found is None:
        raise PermError("bad argument")
    target = None if found[1] is None else domain_spec(found[1])
    return Hosts(kind, target, _prefix(found[2], 32), _prefix(found[3], 128))


def _ip4(rest: str) -> Ip:
    found = _IP4.fullmatch(rest)
    if found is None:
        raise PermError("bad network")
    try:
        return Ip(IPv4Address(found[1]), _prefix(found[2], 32))
    except ValueError:
        raise PermError("bad address") from None


def _ip6(rest: str) -> Ip:
    found = _IP6.fullmatch(rest)
    if found is None:
        raise PermError("bad network")
    try:
        return Ip(IPv6Address(found[1]), _prefix(found[2], 128))
    except ValueError:
        raise PermError("bad address") from None


def _prefix(digits: str | None, most: int) -> int:
    """The length of a network's prefix, in bits."""
    length = most if digits is None else int(digits)
    if length > most:
        raise PermError("the prefix is too long")
    return length


_MECHANISMS: dict[str, Callable[[str], Mechanism]] = {
    "all": _all,
    "include": lambda rest: Include(_domain(rest)),
    "a": lambda rest: _hosts(Kind.A, rest),
    "mx": lambda rest: _hosts(Kind.MX, rest),
    "ptr": _ptr,
    "ip4": _ip4,
    "ip6": _ip6,
    "exists": lambda rest: Exists(_domain(rest)),
}
