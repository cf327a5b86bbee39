"""Kinds of values: what a key takes, how it is read from TOML, and what is said when it can't be.

The schema's annotations carry them: ``Annotated[float, duration("1s", "1h")]`` is a float, written as "30s" in a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from enum import StrEnum

from msgspec import Struct

from tlsgate.config.advice import one_of
from tlsgate.config.fault import Wrong, kind_of, shown
from tlsgate.config.server_names import BackendAddress, parse_backend_address
from tlsgate.config.values import (
    HostPort,
    Url,
    parse_address,
    parse_answers,
    parse_domain,
    parse_duration,
    parse_file,
    parse_host,
    parse_hostname,
    parse_mail_domain,
    parse_nameserver,
    parse_network,
    parse_network_or_file,
    parse_rate,
    parse_secure_url,
    parse_server_name,
    parse_size,
    parse_url,
)


class Kind(Struct, frozen=True):
    """One kind of value. ``name``: with its article; ``advice``: what to write; ``parse``: TOML's value to ours.

    ``parse`` raises Wrong, whose empty parts are filled in here. A ``secret`` kind never shows the value.
    """

    name: str
    advice: str
    parse: Callable[[object], object]
    secret: bool = False

    def read(self, value: object) -> object:
        """TOML's value to ours. Raises Wrong, with both parts."""
        try:
            return self.parse(value)
        except Wrong as wrong:
            this = kind_of(value) if self.secret else shown(value)
            raise Wrong(wrong.problem or f"{this} is not {self.name}", wrong.expected or self.advice) from None


class ListOf(Struct, frozen=True):
    """A list of one kind. ``least``: how many at least; ``alone``: a single value stands for a list of it."""

    kind: Kind
    least: int = 0
    alone: bool = False

    @property
    def advice(self) -> str:
        """What to write."""
        return f"{self.kind.advice}, in a list"


def written(
    parse: Callable[[str], object], name: str, advice: str, *, optional: bool = False, secret: bool = False
) -> Kind:
    """What is written as a string. ``optional``: "" is None."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            raise Wrong
        if value:
            return parse(value)
        if optional:
            return None
        raise Wrong("is empty")

    return Kind(name, advice, read, secret)


def string(most: int, *, least: int = 0) -> Kind:
    """A string kept as it is: of ``least`` to ``most`` printable characters."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise Wrong
        if len(value) < least:
            raise Wrong("is empty")
        if len(value) > most or not value.isprintable():
            raise Wrong(f"{shown(value)} is too long" if value.isprintable() else "holds a control character")
        return value

    return Kind("a string", f"use a string of {least} to {most} printable characters", read)


def flag() -> Kind:
    """A boolean."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise Wrong
        return value

    return Kind("a boolean", "use true or false", read)


def whole(least: int, most: int) -> Kind:
    """A whole number of a range, both ends included."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Wrong
        if not least <= value <= most:
            raise Wrong(f"{shown(value)} is {'less' if value < least else 'more'} than is allowed")
        return value

    return Kind("a whole number", f"use a whole number from {least} to {most}", read)


def word(words: Collection[StrEnum], *, any_case: bool = False) -> Kind:
    """One of an enum's words. ``any_case``: registered names that people write in either case."""
    choices = {each.value: each for each in words}

    def read(value: object) -> StrEnum:
        if not isinstance(value, str):
            raise Wrong
        found = choices.get(value.upper() if any_case else value)
        if found is None:
            raise Wrong(f"{shown(value)} is not known here")
        return found

    return Kind("a string", f"use {one_of(choices)}", read)


def duration(least: str, most: str) -> Kind:
    """A duration of a range, both ends included; gives seconds."""
    return _measured(parse_duration, "a duration", '"30s", "10m" or "1h"', least, most)


def size(least: str, most: str) -> Kind:
    """A size of a range, both ends included; gives bytes."""
    return _measured(parse_size, "a size", '"64KiB", "25MiB" or "1GiB"', least, most)


def _measured(parse: Callable[[str], float], name: str, such_as: str, least: str, most: str) -> Kind:
    low, high = parse(least), parse(most)

    def read(text: str) -> float:
        measure = parse(text)
        if not low <= measure <= high:
            raise Wrong(f"{shown(text)} is {'less' if measure < low else 'more'} than is allowed")
        return measure

    return written(read, name, f'use one from "{least}" to "{most}", such as {such_as}')


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text):
        raise Wrong
    return text


def _connect_address(text: str) -> BackendAddress:
    address = parse_backend_address(text)
    if isinstance(address, HostPort) and not address.port:
        raise Wrong(f"{shown(text)} has port 0", "use the port that the backend listens on")
    return address


def _workers(value: object) -> object:
    return value if value == "auto" else _MANY_WORKERS.parse(value)


def _http_url(text: str) -> Url:
    return parse_url(text, ("http", "https"))


def _state_url(text: str) -> Url:
    return parse_url(text, ("valkey", "valkeys"))


def _optional_host(value: object) -> object:
    return value if value == "" else _HOST.parse(value)


def _optional_domain(value: object) -> object:
    return value if value == "" else DOMAIN.parse(value)


_MANY_WORKERS = whole(1, 256)
_HOST = written(parse_host, "a host name or an address", 'use a name such as "mail.example.org"')
_DOMAIN_ADVICE = 'use a name such as "example.org" (xn--… for letters beyond ASCII)'

WORKERS = Kind("a number of workers", 'use "auto", or a whole number from 1 to 256', _workers)
NAME = written(_name, "a name", 'use 1 to 64 letters, digits, ".", "_" and "-"')
# Secret: who writes a password where its file belongs must not see it in a log.
FILE = written(parse_file, "a file", "use a file's path", secret=True)
OPTIONAL_FILE = written(parse_file, "a file", "use a file's path", optional=True, secret=True)
HOSTNAME = written(parse_hostname, "a host name", 'use this host\'s name, such as "mail.example.org"')
SERVER_NAME = written(parse_server_name, "a server name", 'use a name such as "mail.example.org" or "*.example.org"')
DOMAIN = written(parse_domain, "a domain name", _DOMAIN_ADVICE)
OPTIONAL_DOMAIN = Kind(DOMAIN.name, DOMAIN.advice, _optional_domain)
MAIL_DOMAIN = written(parse_mail_domain, "a domain name", _DOMAIN_ADVICE + ', or ".example.org" for its subdomains too')
RATE = written(parse_rate, "a rate", 'use a number and a duration, such as "30/1m"')
_ADDRESS_ADVICE = 'use "host:port", "[v6]:port" or "unix:/path"'
LISTEN_ADDRESS = written(parse_address, "an address", _ADDRESS_ADVICE)
CONNECT_ADDRESS = written(
    _connect_address,
    "an address",
    'use "host:port", "[v6]:port", "unix:/path", "srv:_service._tcp.domain" or "mx:domain"',
)
OPTIONAL_HOST = Kind("a host name or an address", _HOST.advice, _optional_host)
NETWORK = written(parse_network, "a prefix", 'use a prefix such as "192.0.2.0/24" or "2001:db8::/32"')
NETWORK_OR_FILE = written(parse_network_or_file, "a prefix or a file", NETWORK.advice + ", or a file's path")
NAMESERVER = written(parse_nameserver, "a name server's address", 'use an address such as "192.0.2.53"')
ANSWERS = written(parse_answers, "a range of answers", 'use "127.0.0.2" or "127.0.0.2-127.0.0.11"')
HTTP_URL = written(
    _http_url, "a usable URL", 'use "http://host/path" or "https://host/path"', optional=True, secret=True
)
SECURE_URL = written(parse_secure_url, "a usable URL", 'use "https://host/path"', optional=True, secret=True)
STATE_URL = written(_state_url, "a usable URL", 'use "valkey://host:6379/0"', optional=True, secret=True)
