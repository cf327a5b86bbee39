"""A login as those see it who judge it: what was shown, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from msgspec import Struct

from tlsgate.config import Protocol
from tlsgate.dialogue.client import Endpoint, NoName
from tlsgate.dialogue.events import Shown

if TYPE_CHECKING:
    from tlsgate.auth.certificate_facts import CertificateFacts


class Secured(Struct, frozen=True):
    """A client's TLS, in OpenSSL's words. ``asks``: whether clients are asked for a ``certificate``, verified."""

    version: str
    cipher: str
    asks: bool = False
    certificate: CertificateFacts | None = None


class Proxied(Struct, frozen=True):
    """What a PROXY header said: the client's end of its connection to the load balancer, and the end it reached."""

    source: Endpoint
    destination: Endpoint


class Caller(Struct, frozen=True):
    """The client behind a login. ``address``: this host's own for one that came by a unix socket.

    ``name``: its own in reverse DNS, as far as it is known.
    """

    address: IPv4Address | IPv6Address
    name: str | NoName = NoName.UNAVAILABLE
    proxied: Proxied | None = None
    tls: Secured | None = None


class Attempt(Struct, frozen=True):
    """``number``: of this connection's attempts, from 1 on. ``deadline``: of trio's clock, for the answer.

    ``caller``: tells of the client; most sources don't want to know, and needn't pay for it.
    """

    shown: Shown
    mechanism: str
    protocol: Protocol
    number: int
    deadline: float
    caller: Callable[[], Caller]
