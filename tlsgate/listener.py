"""Sockets: binding, accepting, and the cheap refusal before a session begins."""

from __future__ import annotations

import errno
import math
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import trio

from tlsgate.admission.door import Door, Turned
from tlsgate.admission.network import parse_client
from tlsgate.admission.verdict import Verdict
from tlsgate.admission.visit import Desk, Visit
from tlsgate.config import Address, HostPort, TlsMode
from tlsgate.dialogue.events import Channel, Ending
from tlsgate.session import Service, Session, Trace

_BACKLOG = 4096
_ACCEPTS_PER_TURN = 64
_SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SHORTAGE_PAUSE = 0.1
_SHORTAGE_TOLD_EACH = 1.0
# accept(2): Linux gives the new connection's own network errors here. The next one may be well.
_PASSING = (
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
)


_ENDINGS = {
    Verdict.OVER_CAPACITY: Ending.OVER_CAPACITY,
    Verdict.OVER_NETWORK_CAP: Ending.OVER_NETWORK_CAP,
    Verdict.OVER_RATE: Ending.OVER_RATE,
    Verdict.BLOCKED: Ending.BLOCKED,
    Verdict.BANNED: Ending.BANNED,
}


class ListenerTrace(Protocol):
    """What is told about one listener's connections."""

    def refused(self, result: str, client: str, reason: str) -> None: ...
    def accepted(self, client: str, port: int) -> Trace: ...
    def shortage(self) -> None: ...


def bind(address: Address, mode: int = 0o666, owner: int = -1) -> socket.socket:
    """A listening, non-blocking socket. ``mode``, ``owner``: of a unix socket's file. Raises OSError."""
    target: tuple[str | int | bytes, ...] | str
    if isinstance(address, HostPort):
        family, _, _, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    else:
        target = str(address.path)
        _remove_stale(address.path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if listening.family != socket.AF_UNIX:
            # Accepted sockets inherit it: without it a login takes 44 ms.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(target, str):
            _bind_file(listening, target, mode, owner)
        else:
            listening.bind(target)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _bind_file(listening: socket.socket, path: str, mode: int, owner: int) -> None:
    # Not by chmod: who can write in the directory could put a link to another file of ours in its place.
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(path)
    finally:
        os.umask(before)
    os.chown(path, owner, -1, follow_symlinks=False)


def close(listening: socket.socket) -> None:
    """Listen no more; a unix socket's file goes too, unless somebody else listens there now."""
    if listening.fileno() < 0:
        return
    name = listening.getsockname()
    listening.close()
    if isinstance(name, str):
        remove_stale(Path(name))


def remove_stale(path: Path) -> None:
    """Remove the file of a unix socket that nobody listens on any more, if we may."""
    with suppress(OSError):
        _remove_stale(path)


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.setblocking(False)
        if knocking.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink(missing_ok=True)


class Listener:
    """One listening socket. ``service`` and ``desk`` may be replaced while it runs, for the sessions to come."""

    def __init__(
        self,
        listening: socket.socket,
        service: Service,
        door: Door,
        desk: Desk,
        trace: ListenerTrace,
    ) -> None:
        self.socket = listening
        self.service = service
        self.desk = desk
        self.trace = trace
        self._door = door
        self._accepting = trio.CancelScope()
        self._shortage_told = -math.inf

    async def run(self, sessions: trio.Nursery) -> None:
        """Accept until ``stop``; each session is a task of ``sessions``. Raises OSError when the socket is broken."""
        with self._accepting:
            while not self._accepting.cancel_called:
                await trio.lowlevel.wait_readable(self.socket)
                try:
                    for _ in range(_ACCEPTS_PER_TURN):
                        connected, peer = self.socket.accept()
                        self._begin(connected, peer, sessions)
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno in _PASSING:
                        continue
                    if error.errno not in _SHORTAGE:
                        raise
                    # The sessions that are here keep their descriptors; the next ones wait in the backlog.
                    self._tell_shortage()
                    await trio.sleep(_SHORTAGE_PAUSE)

    def stop(self) -> None:
        """Accept no more, now or ever. Sessions go on."""
        self._accepting.cancel()
        close(self.socket)

    def _tell_shortage(self) -> None:
        now = trio.current_time()
        if now >= self._shortage_told + _SHORTAGE_TOLD_EACH:
            self._shortage_told = now
            self.trace.shortage()

    def _begin(self, connected: socket.socket, peer: object, sessions: trio.Nursery) -> None:
        connected.setblocking(False)
        host, port = _client(peer)
        entry = self._door.enter(parse_client(host))
        if isinstance(entry, Turned):
            self.trace.refused(entry.verdict, host, entry.reason)
            self._refuse(connected, _ENDINGS[entry.verdict])
            return
        session = Session(self.service, connected, self.trace.accepted(host, port), Visit(entry, self.desk), self)
        sessions.start_soon(session.run)

    def _refuse(self, connected: socket.socket, reason: Ending) -> None:
        """One line in clear where the protocol allows it, then the end: no handshake is paid for."""
        if self.service.tls is TlsMode.STARTTLS:
            with suppress(OSError):
                connected.send(self.service.server_dialogue(Channel.CLEARTEXT).ending(reason))
        connected.close()


def _client(peer: object) -> tuple[str, int]:
    """The client's address and port; an IPv4 address mapped into IPv6 is the IPv4 address."""
    match peer:
        case (str(host), int(port), *_):
            return host.removeprefix("::ffff:") if "." in host else host, port
        case _:
            return "unix", 0
