"""Names in the DNS that stand for several servers: of a service (SRV, RFC 2782), of a domain's mail (MX, RFC 5321)."""

from __future__ import annotations

import re

from msgspec import Struct

from tlsgate.config.fault import Wrong, shown
from tlsgate.config.values import Address, HostPort, parse_address, parse_domain

_SMTP_PORT = 25


class SrvName(Struct, frozen=True):
    """The servers of a service. ``name``: "_imap._tcp.example.org"."""

    name: str

    def __str__(self) -> str:
        return f"srv:{self.name}"

    @property
    def domain(self) -> str:
        """Whose service it is: what a server's certificate must be for (RFC 6125 6.2.1)."""
        return self.name.split(".", 2)[2]


class MxName(Struct, frozen=True):
    """The servers of a domain's mail, and their port."""

    domain: str
    port: int = _SMTP_PORT

    def __str__(self) -> str:
        return f"mx:{self.domain}" if self.port == _SMTP_PORT else f"mx:{self.domain}:{self.port}"


ManyServers = SrvName | MxName
BackendAddress = Address | ManyServers

_SERVICE = re.compile(r"_[A-Za-z0-9-]{1,62}\._tcp\.(.+)")
_BARE_PORT = re.compile(r"[0-9]+")
_ADVICE = {
    "srv": 'use "srv:_service._tcp.domain", such as "srv:_imap._tcp.example.org"',
    "mx": 'use "mx:domain" or "mx:domain:port"',
}


def parse_backend_address(text: str) -> BackendAddress:
    """ "host:port", "[v6]:port", "unix:/path", "srv:_imap._tcp.example.org", "mx:example.org:25". Raises Wrong.

    "mx:25" and "srv:143" are hosts of that name, with a port.
    """
    kind, _, name = text.partition(":")
    if kind not in _ADVICE or _BARE_PORT.fullmatch(name):
        return parse_address(text)
    try:
        return _srv(name) if kind == "srv" else _mx(name)
    except Wrong:
        raise Wrong(f"{shown(text)} is no name of {kind.upper()} records", _ADVICE[kind]) from None


def _srv(name: str) -> SrvName:
    found = _SERVICE.fullmatch(name)
    if found is None:
        raise Wrong
    parse_domain(found[1])
    parse_domain(name.replace("_", "x"))  # the whole of it is bounded too
    return SrvName(name)


def _mx(name: str) -> MxName:
    domain, colon, port = name.partition(":")
    parse_domain(domain)
    if not colon:
        return MxName(domain)
    address = parse_address(f"{domain}:{port}")
    if not isinstance(address, HostPort) or not address.port:
        raise Wrong
    return MxName(domain, address.port)
