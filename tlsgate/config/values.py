"""Values that a config writes as text: durations, sizes, rates, addresses, networks, names.

Each ``parse_`` takes the text and gives the value, or raises Wrong (a ValueError that says what would be right).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from tlsgate.config.fault import Wrong, shown

Network = IPv4Network | IPv6Network


class HostPort(Struct, frozen=True):
    """A TCP address. ``host``: an address without brackets, or a name. ``port`` 0: the kernel chooses."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixPath(Struct, frozen=True):
    """A unix socket, by its absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = HostPort | UnixPath


class Rate(Struct, frozen=True):
    """At most ``count`` in any ``seconds``."""

    count: int
    seconds: float


class AnswerRange(Struct, frozen=True):
    """The answers of a DNS list that count, both ends included."""

    first: IPv4Address
    last: IPv4Address

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class Url(str):
    """A URL that may hold a password: its repr doesn't show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return shown(str(self))


def parse_url(text: str, schemes: Collection[str]) -> Url:
    """A URL with a host and one of these schemes. Raises Wrong, which shows nothing of it: it may hold a password."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise Wrong from None
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise Wrong
    return Url(text)


def parse_secure_url(text: str) -> Url:
    """An https URL, or an http one to this host itself. Raises Wrong as ``parse_url``."""
    url = parse_url(text, ("https", "http"))
    if urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname or ""):
        raise Wrong(
            "would be fetched in clear, and whoever changes it on its way can log in as anyone", 'use "https://…"'
        )
    return url


def parse_file(text: str) -> Path:
    """A file's path. Raises Wrong."""
    if not text.isprintable():
        raise Wrong("holds a control character")
    return Path(text)


_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_LONGEST = 366 * 86_400.0


def parse_duration(text: str) -> float:
    """ "30s", "500ms", "10m", "1h", "1d" to seconds. Raises Wrong."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Wrong
    seconds = int(found[1]) * _MILLISECONDS[found[2]] / 1000
    if seconds > _LONGEST:
        raise Wrong(f"{shown(text)} is longer than a year", 'use at most "366d"')
    return seconds


_BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"([0-9]{1,12})(KiB|MiB|GiB)")


def parse_size(text: str) -> int:
    """ "64KiB", "25MiB", "1GiB" to bytes. Raises Wrong."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Wrong
    return int(found[1]) * _BYTES[found[2]]


_RATE = re.compile(r"([0-9]{1,9})/(.+)")


def parse_rate(text: str) -> Rate:
    """ "30/1m" to a Rate. Raises Wrong."""
    found = _RATE.fullmatch(text)
    if found is None or not int(found[1]):
        raise Wrong
    try:
        seconds = parse_duration(found[2])
    except Wrong as wrong:
        raise Wrong(wrong.problem) from None
    if not seconds:
        raise Wrong
    return Rate(int(found[1]), seconds)


_LDH_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LDH_LABEL}(?:\.{_LDH_LABEL})*")
_HOST = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
_NUMERIC = re.compile(r"[0-9.]*\.?[0-9]+")
_LONGEST_NAME = 253  # RFC 1035 2.3.4, as text without the root's dot


def parse_domain(text: str) -> str:
    """A domain name of letters, digits and hyphens (RFC 5321 2.3.5), given back as it is. Raises Wrong."""
    if len(text) > _LONGEST_NAME or not _DOMAIN.fullmatch(text) or _NUMERIC.fullmatch(text):
        raise Wrong
    return text


def parse_mail_domain(text: str) -> str:
    """A domain of mail, or "." and a domain for it and all below it, given back as it is. Raises Wrong."""
    parse_domain(text.removeprefix("."))
    return text


def parse_server_name(text: str) -> str:
    """A name for SNI: a domain, or "*." and a domain for its one-label children. Raises Wrong."""
    parse_domain(text.removeprefix("*."))
    return text


def parse_hostname(text: str) -> str:
    """The name that we greet with: a domain or an address literal (RFC 5321 4.1.3). Raises Wrong."""
    if not text.startswith("["):
        if (address := _address(text)) is not None:
            literal = f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
            raise Wrong(f"{shown(text)} is an address without brackets", f'use a host name, or "{literal}"')
        return parse_domain(text)
    inner = text.removeprefix("[").removesuffix("]")
    tagged = inner[:5].upper() == "IPV6:"
    address = _address(inner[5:] if tagged else inner)
    if address is None or not text.endswith("]") or tagged != (address.version == 6):
        raise Wrong
    return text


def parse_host(text: str) -> str:
    """A host as the resolver takes it: an address without brackets, or a name. Raises Wrong."""
    address = _address(text)
    if address is not None:
        return str(address)
    if len(text) > _LONGEST_NAME or not _HOST.fullmatch(text) or _NUMERIC.fullmatch(text):
        raise Wrong(f"{shown(text)} is not a host name or an address")
    return text


_PORT = re.compile(r"[0-9]{1,5}")
_HIGHEST_PORT = 65535
_LONGEST_UNIX_PATH = 107  # sockaddr_un


def parse_address(text: str) -> Address:
    """ "host:port", "[v6]:port" or "unix:/path". Raises Wrong."""
    if text.startswith("unix:"):
        return _unix_path(text)
    host, colon, port = text.rpartition(":")
    if not colon or not host or (text.startswith("[") and text.endswith("]")):
        raise Wrong
    if not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
        raise Wrong(f"{shown(port)} in {shown(text)} is not a port", "use a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        address = _address(host[1:-1])
        if address is None or address.version != 6:
            raise Wrong(f"{shown(host)} is not an IPv6 address")
        return HostPort(str(address), int(port))
    if ":" in host:
        if _address(host) is None:
            raise Wrong
        raise Wrong(f"{shown(text)} is an IPv6 address without brackets", f'use "[{host}]:{port}"')
    return HostPort(parse_host(host), int(port))


def _unix_path(text: str) -> UnixPath:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise Wrong(f"{shown(text)} is not a unix socket's absolute path", 'use "unix:/run/tlsgate/name.sock"')
    if len(path.encode()) > _LONGEST_UNIX_PATH:
        raise Wrong(f"{shown(text)} is too long for a unix socket", f"use a path of {_LONGEST_UNIX_PATH} bytes at most")
    return UnixPath(Path(path))


_DNS_PORT = 53


def parse_nameserver(text: str) -> HostPort:
    """ "192.0.2.53", "2001:db8::53", each also with a port ("[2001:db8::53]:5353"). Raises Wrong."""
    bare = _address(text)
    if bare is not None:
        return HostPort(str(bare), _DNS_PORT)
    address = parse_address(text)
    if not isinstance(address, HostPort) or _address(address.host) is None or not address.port:
        raise Wrong
    return address


_LENGTH = re.compile(r"[0-9]{1,3}")
_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_network(text: str) -> Network:
    """A prefix, or an address for a prefix of itself alone. Raises Wrong."""
    _, slash, length = text.partition("/")
    if "%" in text or (slash and not _LENGTH.fullmatch(length)):
        raise Wrong
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise Wrong from None
    if isinstance(loose, IPv6Network) and loose.subnet_of(_MAPPED):
        # Clients with such an address are known by their IPv4 address: the prefix would match nobody.
        right = ip_network((int(loose.network_address) & 0xFFFFFFFF, loose.prefixlen - 96))
        raise Wrong(f"{shown(text)} is IPv4 mapped into IPv6", f'use "{right}"')
    try:
        return ip_network(text)
    except ValueError:
        raise Wrong(f"{shown(text)} has bits set behind its prefix length", f'use "{loose}"') from None


# What begins like an address is meant as one: a slip in it must not become the name of a file.
_LOOKS_NUMERIC = re.compile(r"[0-9]+(?:\.[0-9]|/|$)|[0-9A-Fa-f]*:")


def parse_network_or_file(text: str) -> Network | Path:
    """A prefix, or the file that lists some. Raises Wrong."""
    if _LOOKS_NUMERIC.match(text):
        return parse_network(text)
    if not text or not text.isprintable():
        raise Wrong
    return Path(text)


_LOOPBACK = IPv4Network("127.0.0.0/8")


def parse_answers(text: str) -> AnswerRange:
    """ "127.0.0.2" or "127.0.0.2-127.0.0.11" (RFC 5782 2.1: answers are in 127.0.0.0/8). Raises Wrong."""
    low, dash, high = text.partition("-")
    try:
        answers = AnswerRange(IPv4Address(low), IPv4Address(high if dash else low))
    except ValueError:
        raise Wrong from None
    if answers.first not in _LOOPBACK or answers.last not in _LOOPBACK:
        raise Wrong(f"{shown(text)} is outside 127.0.0.0/8, where DNS lists answer")
    if answers.first > answers.last:
        raise Wrong(f"{shown(text)} ends before it begins", f'use "{high}-{low}"')
    return answers


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, reached from itself only. A name other than localhost is taken not to be."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


_SCOPE = re.compile(r"[A-Za-z0-9_.-]{1,15}")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    _, percent, scope = text.partition("%")
    if percent and not _SCOPE.fullmatch(scope):
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None
