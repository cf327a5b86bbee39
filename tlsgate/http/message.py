"""What is asked of whom, what comes back, and what can go wrong."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from msgspec import Struct

from tlsgate.config import HostPort

Headers = tuple[tuple[str, bytes], ...]
"""Names and values in their order. A value has neither CR, LF and NUL nor space at its ends (RFC 9110 5.5)."""


class HttpError(Exception):
    """There is no answer. The text is for the log: it shows nothing of a request's or an answer's headers or body."""


class Unreachable(HttpError):
    """The server can't be connected to, its TLS fails, or it closes without a word."""


class BadResponse(HttpError):
    """What came is no answer, or only a part of one."""


class TooLarge(HttpError):
    """The answer is larger than it may be."""


class TimedOut(HttpError):
    """There was no whole answer in time."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Names of ``headers`` are in small letters, values as they came, without space at their ends."""

    status: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)

    def values(self, name: str) -> tuple[bytes, ...]:
        """Of every header with this name, which is in small letters."""
        return tuple(value for each, value in self.headers if each == name)


class Origin(Struct, frozen=True):
    """Where a request goes (RFC 9110 4.3.1)."""

    address: HostPort
    secure: bool

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.address}"


@dataclass(frozen=True, slots=True)
class Place:
    """A URL taken apart. ``target``: path and query (RFC 9112 3.2.1). ``authorization``: by its user and password."""

    origin: Origin
    host: str
    target: str = field(repr=False)
    authorization: bytes | None = field(repr=False)


def place(url: str) -> Place:
    """Read an http or https URL of printable ASCII. Raises ValueError, which doesn't show it."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or parts.scheme not in _PORTS or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("not an http or https URL")
    usual = _PORTS[parts.scheme]
    origin = Origin(HostPort(name, port or usual), secure=parts.scheme == "https")
    host = str(origin.address) if origin.address.port != usual else str(HostPort(name, 0)).removesuffix(":0")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(origin, host, target, _basic(parts.username, parts.password))


_PORTS = {"http": 80, "https": 443}


def _basic(user: str | None, password: str | None) -> bytes | None:
    """RFC 7617."""
    if user is None and password is None:
        return None
    return b"Basic " + base64.b64encode(unquote_to_bytes(user or "") + b":" + unquote_to_bytes(password or ""))
