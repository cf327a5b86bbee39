"""Where the shared state is: [state] url, taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_PORT = 6379
_MOST_DATABASES = 65_536


@dataclass(frozen=True, slots=True)
class Server:
    """A Valkey or Redis server. ``username`` and ``password`` are None where the URL has none."""

    host: str
    port: int = _PORT
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False


def parse_server(url: str) -> Server:
    """``valkey://[[user]:password@]host[:port][/database]``, or ``valkeys``, ``redis``, ``rediss``; a password with
    letters that a URL can't hold is percent-encoded.

    Raises ValueError, which shows nothing of it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        host, port, database = parts.hostname, parts.port, parts.path.removeprefix("/") or "0"
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("valkey", "valkeys", "redis", "rediss") or not host or parts.query or parts.fragment:
        raise ValueError("is not the URL of a Valkey server")
    if not (database.isascii() and database.isdigit() and int(database[:6]) < _MOST_DATABASES):
        raise ValueError("has no number of a database behind the host")
    return Server(
        host,
        port or _PORT,
        int(database),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        parts.scheme in ("valkeys", "rediss"),
    )
