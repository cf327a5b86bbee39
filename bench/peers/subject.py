"""What is compared: where a proxy listens, what it is told, and what it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.mail.servers import Server
from bench.mail.store import HOST

REFUSED = "127.0.2.0/24"  # clients from here, to those that can refuse by address

__all__ = ["HOST", "REFUSED", "Place", "Ports", "Server", "Subject"]


@dataclass(frozen=True, slots=True)
class Ports:
    """The proxy's, by implicit TLS; the backend's; and that of the HTTP server that nginx asks.

    One proxy runs at a time, so all have the same. A port of the backend is the proxy's with a 1 before it, which is
    what Dovecot is told. None is one that the system gives to outgoing connections.
    """

    imaps: int = 2993
    pop3s: int = 2995
    submissions: int = 2465
    admin: int = 2090
    imap: int = 12993
    pop3: int = 12995
    smtp: int = 12465
    auth: int = 12080


@dataclass(frozen=True, slots=True)
class Place:
    """``directory``: empty, a proxy's own. ``sessions``: how many it has to have room for; ``core``: where it runs."""

    directory: Path
    certificate: Path
    key: Path
    ports: Ports
    sessions: int
    core: int

    def config(self, name: str, text: str) -> Path:
        """Write a config."""
        path = self.directory / name
        path.write_text(text)
        return path

    def server(self, command: list[str]) -> Server:
        """It isn't started yet."""
        return Server(command, self.ports.imaps, self.directory / "stderr", self.core)


@dataclass(frozen=True, slots=True)
class Subject:
    """``refuses``: whether it can refuse clients by their address before the handshake.

    ``workers``: makes one with several processes, for those whose processes are worth a figure.
    """

    name: str
    make: Callable[[Place], Server]
    refuses: bool = False
    workers: Callable[[Place, int], Server] | None = None
